"""The suite's modules by stage: how far a shares service has come, and how much of it must pass.

A module is named without `manila_tempest_tests.tests.api.`. What is in no list is of the last stage.
"""

from enum import IntEnum


class Stage(IntEnum):
    """Each needs what the one before it needs."""

    API = 1
    """Types, quotas, services, security services, networks: all that needs no share."""
    SHARES = 2
    """Shares, their access rules, metadata, locks, messages, transfers and export locations."""
    SNAPSHOTS = 3
    """Snapshots and groups."""
    MOVEMENT = 4
    """Share servers, manage, migration, replicas and backups."""


REQUIRED = frozenset({Stage.API, Stage.SHARES, Stage.SNAPSHOTS})
"""A failure in these ends a run with a non-zero status."""

MODULES = {
    Stage.API: """
        test_microversions test_extensions test_availability_zones test_availability_zones_negative test_limits
        admin.test_share_types admin.test_share_types_negative test_share_types_negative
        admin.test_share_types_extra_specs admin.test_share_types_extra_specs_negative
        test_share_type_availability_zones test_share_type_availability_zones_negative
        test_quotas test_quotas_negative admin.test_quotas admin.test_quotas_negative
        admin.test_services admin.test_services_negative
        admin.test_scheduler_stats test_scheduler_stats_negative
        test_security_services test_security_services_negative admin.test_security_services
        test_security_services_mapping test_security_services_mapping_negative
        test_share_networks test_share_networks_negative admin.test_share_networks
        test_share_network_subnets test_share_network_subnets_negative
        test_share_network_subnet_metadata test_share_network_subnet_metadata_negative
        admin.test_share_group_types admin.test_share_group_types_negative
        admin.test_qos_types test_qos_types_negative admin.test_qos_types_specs admin.test_qos_types_specs_negative
    """,
    Stage.SHARES: """
        test_shares test_shares_negative test_shares_actions test_shares_actions_negative admin.test_shares_actions
        test_metadata test_metadata_negative test_public_shares test_public_shares_negative
        test_rules test_rules_negative test_access_rules_metadata test_access_rules_metadata_negative
        test_resource_locks test_resource_locks_negative
        admin.test_user_messages admin.test_user_messages_negative
        test_share_transfers test_share_transfers_negative
        test_scheduler_hints test_scheduler_hints_negative admin.test_scheduler_hints
        admin.test_admin_actions admin.test_admin_actions_negative
        admin.test_share_instances admin.test_share_instances_negative
        admin.test_export_locations admin.test_export_locations_negative
        test_share_encryption test_share_encryption_negative
    """,
    Stage.SNAPSHOTS: """
        test_snapshot_metadata test_snapshot_metadata_negative test_snapshot_rules test_snapshot_rules_negative
        test_revert_to_snapshot test_revert_to_snapshot_negative test_shares_from_snapshot_across_pools
        admin.test_share_snapshot_instances admin.test_share_snapshot_instances_negative
        admin.test_snapshot_export_locations admin.test_snapshot_export_locations_negative
        admin.test_snapshot_manage admin.test_snapshot_manage_negative
        test_share_groups test_share_groups_negative admin.test_share_groups admin.test_share_groups_negative
        test_share_group_actions
    """,
}

_STAGE_OF = {module: stage for stage, modules in MODULES.items() for module in modules.split()}


def stage_of(module: str) -> Stage:
    """Return the stage of a module such as `admin.test_quotas`."""
    return _STAGE_OF.get(module, Stage.MOVEMENT)
