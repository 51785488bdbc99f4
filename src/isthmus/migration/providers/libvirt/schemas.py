"""JSON schemas (draft 7) of the libvirt provider's connection details and environments."""

from typing import Any

_DRAFT = "http://json-schema.org/draft-07/schema#"
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_TLS: dict[str, Any] = {
    "tls_ca": {"type": "string", "description": "PEM certificate of the CA that signed the hypervisor's"},
    "tls_certificate": {"type": "string", "description": "PEM client certificate"},
    "tls_key": {"type": "string", "format": "password", "description": "PEM key of the client certificate"},
}

CONNECTION: dict[str, Any] = {
    "$schema": _DRAFT,
    "type": "object",
    "additionalProperties": False,
    "required": ["uri"],
    "properties": {
        "uri": {
            "type": "string",
            "pattern": r"^qemu(\+(unix|tls|tcp|ssh|libssh|libssh2))?://",
            "description": "libvirt connection URI, for example qemu+tls://kvm1.example.org/system",
        },
        "username": {"type": "string", "description": "SASL user name (tls and tcp)"},
        "password": {"type": "string", "format": "password", "description": "SASL password"},
        "ssh_private_key": {"type": "string", "format": "password", "description": "private key, OpenSSH format"},
        "ssh_known_hosts": {"type": "string", "description": "known_hosts lines; the worker's own by default"},
        **_TLS,
        "nbd": {
            "type": "object",
            "additionalProperties": False,
            "description": "how disk data travels between the hypervisor's QEMU and the worker",
            "properties": {
                "transport": {"enum": ["unix", "tls"], "description": "unix for a hypervisor on the worker's machine"},
                "socket_directory": {
                    "type": "string",
                    "description": "unix: directory that QEMU can write in and the worker can read (/run/isthmus-nbd)",
                },
                "address": {"type": "string", "description": "tls: address on which QEMU listens; the URI's host"},
                "first_port": {**_PORT, "default": 10810},
                "last_port": {**_PORT, "default": 10909},
                "hypervisor_certificates": {
                    "type": "string",
                    "description": "tls: directory on the hypervisor with server-cert.pem, server-key.pem, ca-cert.pem",
                },
                **_TLS,
                "scratch_directory": {
                    "type": "string",
                    "description": "directory on the hypervisor for blocks overwritten during a pass (disk's own)",
                },
            },
        },
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
        "storage_pool": {"type": "string", "description": "pool for disks that no mapping names; the default pool"},
        "network": {"type": "string", "description": "network for NICs that no mapping names"},
        "disk_format": {"enum": ["qcow2", "raw"], "default": "qcow2"},
        "disk_bus": {"enum": ["virtio", "scsi", "sata"], "default": "virtio"},
        "nic_model": {"enum": ["virtio", "e1000e", "e1000", "rtl8139"], "default": "virtio"},
        "machine_type": {"enum": ["pc", "q35"], "description": "q35 for EFI machines, else pc"},
        "virt_type": {"enum": ["auto", "kvm", "qemu"], "default": "auto"},
        "cpu_mode": {"enum": ["host-passthrough", "host-model", "maximum"]},
        "firmware_loader": {"type": "string", "description": "path of the OVMF code image; chosen by libvirt"},
        "neutron": {
            "type": "object",
            "additionalProperties": False,
            "description": "for NICs whose destination network is neutron:NAME_OR_ID",
            "properties": {
                "keep_addresses": {
                    "type": "boolean",
                    "default": False,
                    "description": "demand the source NIC's addresses for its port",
                },
                "security_groups": {
                    "type": "array",
                    "items": {"type": "string", "minLength": 1, "maxLength": 255},
                    "description": "names or ids; the project's default group if left out",
                },
            },
        },
        "allow_overcommit": {
            "type": "boolean",
            "default": False,
            "description": "ask the pool for the bytes in use at the source only, not for the disks' whole size",
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
            "properties": {
                "type": {"enum": ["guest_agent", "console", "tcp", "none"], "default": "none"},
                "marker": {"type": "string", "maxLength": 200, "default": "login:"},
                "port": {**_PORT, "default": 22},
                "address": {"type": "string"},
                "timeout_seconds": {"type": "integer", "minimum": 1, "default": 600},
            },
        },
    },
}
