"""JSON schema of the connection details; the environments are those of the images provider."""

from typing import Any

from isthmus.migration.providers.images.schemas import CONNECTION as IMAGES
from isthmus.migration.providers.openstack.schemas import CONNECTION as OPENSTACK

_OF_A_CLOUD = OPENSTACK["properties"]["auth"]
_KEY = {"type": "string", "minLength": 1, "maxLength": 2048}
_KEYS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["access_key_id", "secret_access_key"],
    "properties": {
        "access_key_id": _KEY,
        "secret_access_key": {**_KEY, "format": "password"},
        "session_token": {"type": "string", "minLength": 1, "format": "password", "description": "of temporary keys"},
    },
}
_ADDRESS = r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$"

CONNECTION: dict[str, Any] = {
    **OPENSTACK,
    "required": ["auth", "kind"],
    "properties": {
        **OPENSTACK["properties"],
        "auth": {"type": "object", "description": "glance, swift: as in clouds.yaml; s3: the keys"},
        "kind": {
            "enum": ["glance", "s3", "swift"],
            "description": "images of Glance, or objects of a bucket or container",
        },
        "container": {
            "type": "string",
            "pattern": "^[^/]{1,256}$",
            "description": "swift: the container; it must be there",
        },
        "bucket": {
            "type": "string",
            "pattern": "^[A-Za-z0-9._-]{1,255}$",
            "description": "s3: the bucket; it must be there",
        },
        "endpoint_url": {
            "type": "string",
            "maxLength": 1024,
            "pattern": _ADDRESS,
            "description": "s3: the store's address, with https:// beyond loopback; Amazon's by default",
        },
        "addressing_style": {
            "enum": ["path", "virtual"],
            "description": "s3: where the bucket stands, in the path or before the host's name. path by default, "
            "virtual with Amazon",
        },
        "networks": IMAGES["properties"]["networks"],
    },
    "allOf": [
        {"if": {"properties": {"kind": {"const": "swift"}}}, "then": {"required": ["container"]}},
        {
            "if": {"properties": {"kind": {"const": "s3"}}},
            "then": {"required": ["bucket"], "properties": {"auth": _KEYS}},
            "else": {"properties": {"auth": _OF_A_CLOUD}},
        },
    ],
}
