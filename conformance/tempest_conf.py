"""tempest.conf for a cloud whose shares live on back ends ROME and MADRID, both without share servers.

The switches say what such dummy back ends can do, as OpenStack's own job for them does. Tests whose switch is off,
or whose API version is above the newest one here, are skipped by the suite.
"""

from collections.abc import Mapping
from pathlib import Path

from conformance.cloud import SHARE_TYPE, Cloud

BACK_ENDS = ("ROME", "MADRID")
POLL_SECONDS = 1
"""Between two looks at a share that is becoming available; the suite's own default is 3."""
NEWEST_VERSION = "2.99"
_LIMIT_SECONDS = 180


def tempest_conf(cloud: Cloud, work: Path, others: Mapping[str, object]) -> str:
    """Return the text; lock files and the suite's own log go below `work`. `others` replace options of shares."""
    sections: dict[str, dict[str, object]] = {
        "DEFAULT": {"log_file": work / "tempest.log"},
        "oslo_concurrency": {"lock_path": work / "lock"},
        "auth": {
            "use_dynamic_credentials": True,
            "create_isolated_networks": False,
            "admin_username": cloud.username,
            "admin_password": cloud.password,
            "admin_project_name": cloud.project,
            "admin_domain_name": "Default",
            "default_credentials_domain_name": "Default",
            "tempest_roles": "member",
        },
        "identity": {
            "uri_v3": cloud.auth_url,
            "auth_version": "v3",
            "region": cloud.region,
            "v3_endpoint_type": "public",
            "default_domain_id": "default",
        },
        "identity-feature-enabled": {"api_v2": False, "api_v2_admin": False},
        "service_available": {"manila": True, **dict.fromkeys(_ABSENT_SERVICES, False)},
        "enforce_scope": {"manila": False},
        "share": {**_share_options(cloud), **others},
    }
    return "\n".join(
        "\n".join([f"[{section}]", *(f"{name} = {value}" for name, value in options.items()), ""])
        for section, options in sections.items()
    )


_ABSENT_SERVICES = ("neutron", "nova", "glance", "cinder", "swift", "horizon", "barbican")


def _share_options(cloud: Cloud) -> dict[str, object]:
    return {
        "catalog_type": cloud.service_type,
        "region": cloud.region,
        "min_api_microversion": "2.0",
        "max_api_microversion": NEWEST_VERSION,
        "default_share_type_name": SHARE_TYPE,
        "build_interval": POLL_SECONDS,
        **dict.fromkeys(_LIMITS, _LIMIT_SECONDS),
        "multitenancy_enabled": False,
        "create_networks_when_multitenancy_enabled": False,
        "multi_backend": True,
        "backend_names": ",".join(BACK_ENDS),
        "backend_replication_type": "readable",
        "enable_protocols": "nfs,cifs",
        "enable_ip_rules_for_protocols": "nfs",
        "enable_user_rules_for_protocols": "cifs",
        "enable_cert_rules_for_protocols": "",
        "enable_ro_access_level_for_protocols": "nfs,cifs",
        "capability_storage_protocol": "NFS_CIFS",
        "capability_sg_consistent_snapshot_support": "pool",
        "capability_snapshot_support": True,
        "capability_create_share_from_snapshot_support": True,
        "suppress_errors_in_cleanup": False,
        **dict.fromkeys((f"run_{tests}_tests" for tests in _RUN), True),
        **dict.fromkeys((f"run_{tests}_tests" for tests in _LEAVE_OUT), False),
    }


_LIMITS = ("build_timeout", "migration_timeout", "share_backup_timeout", "share_server_migration_timeout")
_RUN = (
    "quota",
    "extend",
    "shrink",
    "snapshot",
    "revert_to_snapshot",
    "mount_snapshot",
    "share_group",
    "replication",
    "multiple_share_replicas",
    "driver_assisted_migration",
    "migration_with_preserve_snapshots",
    "driver_assisted_backup",
    "manage_unmanage",
    "manage_unmanage_snapshot",
    "create_share_from_snapshot_in_another_pool_or_az",
)
_LEAVE_OUT = (
    "host_assisted_migration",
    "share_server_migration",
    "share_server_multiple_subnet",
    "network_allocation_update",
    "ipv6",
)
