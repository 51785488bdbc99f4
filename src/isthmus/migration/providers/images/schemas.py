"""JSON schemas of the provider's connection details and environments."""

from typing import Any

from isthmus.migration.providers.images.formats import ImageFormat

_DRAFT = "http://json-schema.org/draft-07/schema#"
_PATH = {"type": "string", "pattern": "^/", "maxLength": 1000}
DEFAULT_NETWORK = "default"

CONNECTION: dict[str, Any] = {
    "$schema": _DRAFT,
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {
        "path": {
            **_PATH,
            "description": "directory of images, OVA archives and OVF packages, among the worker's image_directories",
        },
        "networks": {
            "type": "array",
            "items": {"type": "string", "minLength": 1, "maxLength": 255},
            "minItems": 1,
            "default": [DEFAULT_NETWORK],
            "description": "names that the descriptors of arriving machines may give their networks",
        },
    },
}

SOURCE: dict[str, Any] = {
    "$schema": _DRAFT,
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "num_cpu": {
            "type": "integer",
            "minimum": 1,
            "maximum": 4096,
            "description": "instead of the descriptor's, or 1",
        },
        "memory_mb": {"type": "integer", "minimum": 1, "description": "MiB instead of the descriptor's, or 1024"},
        "firmware": {"enum": ["BIOS", "EFI"], "description": "instead of the descriptor's, or BIOS"},
        "os_type": {"enum": ["linux", "windows"], "description": "instead of the descriptor's, or linux"},
    },
}

DESTINATION: dict[str, Any] = {
    "$schema": _DRAFT,
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "disk_format": {"enum": [each.value for each in ImageFormat], "default": "qcow2"},
        "disk_bus": {"enum": ["virtio", "scsi", "sata"], "default": "virtio"},
        "nic_model": {"enum": ["virtio", "e1000e", "e1000", "rtl8139"], "default": "virtio"},
        "network": {"type": "string", "description": "network for NICs that no mapping names"},
        "storage_pool": {"type": "string", "description": "always images: there is one directory"},
        "allow_overcommit": {
            "type": "boolean",
            "default": False,
            "description": "ask for room for the bytes in use at the source only, not for the disks' whole size",
        },
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
            "properties": {"type": {"enum": ["none"], "default": "none"}},
            "description": "nothing is started here, so there is nothing to see",
        },
    },
}
