"""JSON schema of the connection details; the environments are those of the images provider."""

from typing import Any

from isthmus.migration.providers.images.schemas import CONNECTION as IMAGES
from isthmus.migration.providers.openstack.schemas import CONNECTION as OPENSTACK

CONNECTION: dict[str, Any] = {
    **OPENSTACK,
    "required": ["auth", "kind"],
    "properties": {
        **OPENSTACK["properties"],
        "kind": {"enum": ["glance", "swift"], "description": "images of Glance, or objects of a container"},
        "container": {
            "type": "string",
            "pattern": "^[^/]{1,256}$",
            "description": "swift: the container; it must be there",
        },
        "networks": IMAGES["properties"]["networks"],
    },
    "if": {"properties": {"kind": {"const": "swift"}}},
    "then": {"required": ["container"]},
}
