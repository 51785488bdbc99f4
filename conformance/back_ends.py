"""The back ends under test: Manila's own DummyDriver, twice, run through Isthmus's adapter for Manila drivers.

The file is what `isthmus up` takes with OPTION; it is oslo.config, with a section for each back end.
"""

from conformance.cloud import SHARE_TYPE
from conformance.tempest_conf import BACK_ENDS

OPTION = "--shares-config"
ADAPTER = "manila"
DRIVER = "manila.tests.share.drivers.dummy.DummyDriver"
DELAY = 0.05
"""Seconds that a driver's call takes; the driver's own default is 2 to 4."""
MIGRATION_DELAY = 1.0
"""Seconds of each phase of a migration: the tests look for the states between."""
ZONE = "nova"

QUOTAS = {
    "shares": 1_000_000,
    "gigabytes": 10_000_000,
    "snapshots": 100_000,
    "snapshot_gigabytes": 1_000_000,
    "share_networks": 10_000,
    "share_groups": 1_000,
    "share_group_snapshots": 1_000,
    "share_replicas": 1_000,
    "replica_gigabytes": 100_000,
}
"""What no test, and no benchmark, meets by accident. The tests of quotas set their own."""

_QUICK = ("get_pool", "do_setup", "_get_pools_info", "_update_share_stats", "migration_check_compatibility")
_USUAL = (
    "ensure_share",
    "create_share",
    "create_replica",
    "delete_replica",
    "promote_replica",
    "update_replica_state",
    "create_replicated_snapshot",
    "delete_replicated_snapshot",
    "update_replicated_snapshot",
)
_MIGRATION = tuple(f"migration_{step}" for step in ("start", "continue", "complete", "cancel", "get_progress"))


def configuration(delay: float = DELAY, migration_delay: float = MIGRATION_DELAY) -> str:
    """Return the text for back ends that take `delay` seconds a call and `migration_delay` a phase of a migration."""
    names = [name.lower() for name in BACK_ENDS]
    quotas = "".join(f"{resource} = {limit}\n" for resource, limit in QUOTAS.items())
    head = f"""\
[shares]
enabled_backends = {",".join(names)}
enabled_share_protocols = NFS,CIFS
default_share_type = {SHARE_TYPE}
default_share_group_type = {SHARE_TYPE}
use_scheduler_creating_share_from_snapshot = true
[shares_quota]
{quotas}"""
    return head + "".join(_section(name, delay, migration_delay) for name in names)


def _section(name: str, delay: float, migration_delay: float) -> str:
    delays = {
        **dict.fromkeys(_QUICK, min(delay, DELAY)),
        **dict.fromkeys(_USUAL, delay),
        **dict.fromkeys(_MIGRATION, migration_delay),
        **dict.fromkeys(("create_backup", "restore_backup"), migration_delay / 2),
    }
    return f"""
[{name}]
driver = {ADAPTER}
share_driver = {DRIVER}
share_backend_name = {name.upper()}
driver_handles_share_servers = False
replication_domain = DUMMY_DOMAIN
backend_availability_zone = {ZONE}
filter_function = '1 == 1'
goodness_function = 50
enabled_backup_types = dummy
dummy_driver_default_driver_method_delay = {delay}
dummy_driver_driver_methods_delays = {",".join(f"{method}:{seconds}" for method, seconds in delays.items())}
"""
