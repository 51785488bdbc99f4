"""The rules of the shares API: Manila's names and, by default, Manila's personas, so an operator's file fits.

Source: the policy reference of Manila 2026.1. `admin` rules the cloud, `member` changes what is its project's,
`reader` looks at it; `service` is the role of other OpenStack services.
"""

from collections.abc import Iterator

from oslo_policy import policy

_PERSONAS = {
    "context_is_admin": ("role:admin or is_admin:True", "Administrator of the cloud."),
    "context_is_host_admin": (
        "(role:admin and project_id:%(project_id)s) or is_admin:True",
        "May choose the host of a share.",
    ),
    "admin_or_service_api": ("rule:context_is_admin or role:service", "Administrator, or another service."),
    "project-member": ("role:member and project_id:%(project_id)s", "Member of the object's project."),
    "project-reader": ("role:reader and project_id:%(project_id)s", "Reader of the object's project."),
    "owner-user": ("user_id:%(user_id)s and project_id:%(project_id)s", "The user who made the object."),
}

# Who may (a check), and what: resource: operations.
_RULES = {
    "rule:context_is_admin or rule:project-reader": """
        availability_zone: index
        message: get get_all
        qos_type: index show
        quota_class_set: show
        quota_set: show
        security_service: detail index show
        share: access_get access_get_all get get_all get_share_metadata
        share_access_rule: get index
        share_backup: get get_all
        share_export_location: get_metadata index show
        share_group: get get_all
        share_group_snapshot: get get_all
        share_group_type: default index show
        share_network: detail index show
        share_network_subnet: get_metadata index show
        share_replica: get_all show
        share_replica_export_location: index show
        share_snapshot: access_list get_all_snapshots get_metadata get_snapshot
        share_snapshot_export_location: index show
        share_transfer: get get_all
        share_type: default index show
    """,
    "rule:context_is_admin or rule:project-member": """
        message: delete
        security_service: create delete update
        share: allow_access create create_snapshot delete delete_share_metadata delete_snapshot deny_access
        share: extend restore revert_to_snapshot shrink snapshot_update soft_delete update update_share_metadata
        share_access_metadata: delete update
        share_access_rule: update
        share_backup: create delete restore update
        share_export_location: delete_metadata update_metadata
        share_group: create delete update
        share_group_snapshot: create delete update
        share_network: add_security_service add_security_service_check create delete remove_security_service
        share_network: subnet_create_check update update_security_service update_security_service_check
        share_network_subnet: create delete delete_metadata update_metadata
        share_replica: create delete delete_metadata get_metadata promote update_metadata
        share_snapshot: allow_access delete_metadata deny_access update_metadata
        share_transfer: accept create delete
    """,
    "rule:context_is_admin": """
        qos_type: create delete update
        qos_type_specs: create delete index show update
        quota_class_set: update
        quota_set: delete update
        scheduler_stats: pools:detail pools:index
        security_service: get_all_security_services
        service: ensure_shares index update
        share: create_public_share extend_beyond_max_share_size_spec force_delete force_extend list_all_projects
        share: list_by_host list_by_share_server_id list_shares_in_deferred_deletion_states manage
        share: migration_cancel migration_complete migration_get_progress migration_start reset_status
        share: reset_task_state set_public_share unmanage update_admin_only_metadata
        share_backup: get_all_project reset_status
        share_export_location: update_admin_only_metadata
        share_group: force_delete reset_status
        share_group_snapshot: force_delete reset_status
        share_group_type: add_project_access create delete list_project_access remove_project_access
        share_group_types_spec: create delete index show update
        share_instance: force_delete index reset_status show
        share_instance_export_location: index show
        share_network: get_all_share_networks reset_status show_network_details
        share_replica: force_delete reset_replica_state reset_status resync
        share_server: delete details index manage_share_server reset_status share_server_migration_cancel
        share_server: share_server_migration_check share_server_migration_complete
        share_server: share_server_migration_get_progress share_server_migration_start
        share_server: share_server_reset_task_state show unmanage_share_server
        share_snapshot: force_delete list_all_projects list_snapshots_in_deferred_deletion_states
        share_snapshot: manage_snapshot reset_status unmanage_snapshot
        share_snapshot_instance: detail index reset_status show
        share_snapshot_instance_export_location: index show
        share_transfer: get_all_tenant
        share_type: add_project_access create delete list_project_access remove_project_access update
        share_types_extra_spec: create delete index show update
    """,
    "rule:admin_or_service_api or rule:project-reader": """
        resource_lock: get get_all
    """,
    "rule:admin_or_service_api or rule:project-member": """
        resource_lock: create
    """,
    "rule:owner-user or rule:admin_or_service_api": """
        resource_lock: bypass_locked_show_action delete update
    """,
    "rule:admin_or_service_api": """
        resource_lock: get_all_projects
    """,
}


def shares_rules() -> list[policy.RuleDefault]:
    """Return the rules of this service, with the personas they refer to."""
    personas = [policy.RuleDefault(name, check, text) for name, (check, text) in _PERSONAS.items()]
    return [*personas, *_operations()]


def _operations() -> Iterator[policy.RuleDefault]:
    for check, table in _RULES.items():
        for line in table.split("\n"):
            resource, _, operations = line.strip().partition(":")
            for operation in operations.split():
                yield policy.RuleDefault(f"{resource}:{operation}", check, operation.replace("_", " ").capitalize())
