"""JSON schemas (draft 7) of the OpenStack provider's connection details and environments."""

from typing import Any

_DRAFT = "http://json-schema.org/draft-07/schema#"
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_NAME = {"type": "string", "minLength": 1, "maxLength": 255}

_AUTH: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["auth_url"],
    "properties": {
        "auth_url": {"type": "string", "pattern": "^https?://", "description": "Keystone's version 3 API"},
        "username": _NAME,
        "user_id": _NAME,
        "password": {"type": "string", "format": "password"},
        "user_domain_id": _NAME,
        "user_domain_name": _NAME,
        "project_id": _NAME,
        "project_name": _NAME,
        "project_domain_id": _NAME,
        "project_domain_name": _NAME,
        "application_credential_id": _NAME,
        "application_credential_name": _NAME,
        "application_credential_secret": {"type": "string", "format": "password"},
    },
    "anyOf": [{"required": ["password"]}, {"required": ["application_credential_secret"]}],
}

CONNECTION: dict[str, Any] = {
    "$schema": _DRAFT,
    "type": "object",
    "additionalProperties": False,
    "required": ["auth"],
    "properties": {
        "auth": {**_AUTH, "description": "as in clouds.yaml: a password, or an application credential"},
        "region_name": _NAME,
        "interface": {"enum": ["public", "internal", "admin"], "default": "public"},
        "ca": {"type": "string", "description": "PEM certificates that sign the APIs'; the system's by default"},
    },
}

SOURCE: dict[str, Any] = {
    "$schema": _DRAFT,
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "shutdown_timeout": {"type": "integer", "minimum": 1, "default": 300, "description": "seconds"},
        "force_shutdown": {
            "type": "boolean",
            "default": False,
            "description": "cut the power if the guest does not stop in time",
        },
    },
}

DESTINATION: dict[str, Any] = {
    "$schema": _DRAFT,
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "flavor": {**_NAME, "description": "name or id; by default the smallest that the machine fits in"},
        "storage_pool": {"type": "string", "description": "volume type for disks that no mapping names; the default"},
        "network": {"type": "string", "description": "network for NICs that no mapping names"},
        "key_name": {**_NAME, "description": "key pair"},
        "security_groups": {"type": "array", "items": _NAME, "maxItems": 50, "description": "names or ids; default"},
        "availability_zone": _NAME,
        "keep_addresses": {
            "type": "boolean",
            "default": False,
            "description": "give each port the IPv4 and IPv6 addresses that the source machine's NIC has",
        },
        "disk_bus": {"enum": ["virtio", "scsi", "sata"], "default": "virtio"},
        "nic_model": {"enum": ["virtio", "e1000e", "e1000", "rtl8139"], "default": "virtio"},
        "set_dhcp": {"type": "boolean", "default": False, "description": "let the guest ask for its addresses"},
        "morphing_way_in": {
            "enum": ["appliance", "worker-kernel"],
            "description": "how the guest's files are reached; the worker's own way by default",
        },
        "luks_secret_ref": {
            "type": ["string", "null"],
            "maxLength": 1024,
            "description": "Barbican secret with the passphrases of the guests' LUKS volumes",
        },
        "name_suffix": {"type": "string", "pattern": "^[A-Za-z0-9_.-]*$", "default": ""},
        "boot_probe": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "type": {"enum": ["console", "tcp", "none"], "default": "none"},
                "marker": {"type": "string", "maxLength": 200, "default": "login:"},
                "port": {**_PORT, "default": 22},
                "address": {"type": "string"},
                "timeout_seconds": {"type": "integer", "minimum": 1, "default": 600},
            },
        },
    },
}
