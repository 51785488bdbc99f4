"""The rules of the migration API: `migration:<resource>:<operation>`, named as Coriolis names them."""

from oslo_policy import policy

from isthmus.control.policy import BASE_RULES

PREFIX = "migration"

# resource: (what may be looked at, what changes something of the project, what is for administrators alone)
_OPERATIONS = {
    "providers": (("list", "show_schemas"), (), ()),
    "endpoints": (
        (
            "list",
            "show",
            "list_instances",
            "get_instance",
            "list_networks",
            "list_storage",
            "list_source_options",
            "list_destination_options",
            "list_source_minion_pool_options",
            "list_destination_minion_pool_options",
            "export_inventory",
        ),
        ("create", "update", "delete", "validate_connection"),
        (),
    ),
    "assessments": (("list", "show"), ("create", "delete"), ()),
    "events": (("list",), (), ()),
    "transfers": (("list", "show", "plan"), ("create", "update", "delete", "delete_disks", "verify", "failback"), ()),
    "transfer_executions": (("list", "show"), ("create", "delete", "cancel", "retry"), ()),
    "transfer_schedules": (("list", "show"), ("create", "update", "delete"), ()),
    "deployments": (("list", "show", "report"), ("create", "delete", "cancel", "retry"), ()),
    "report_key": (("show",), (), ()),
    "minion_pools": (("list", "show"), ("create", "update", "delete", "allocate", "refresh", "deallocate"), ()),
    "waves": (("list", "show"), ("create", "update", "delete", "start", "approve", "cancel", "retry"), ()),
    # Regions and services belong to the whole installation, so a project's member must not change them.
    "regions": (("list", "show"), (), ("create", "update", "delete")),
    "services": (("list", "show"), (), ("create", "update", "delete")),
    "diagnostics": ((), (), ("get",)),
    "audit": ((), (), ("list",)),
}


def migration_rules() -> list[policy.RuleDefault]:
    """Return the rules of this service, without the basic ones they refer to."""
    return [
        policy.RuleDefault(f"{PREFIX}:{resource}:{operation}", rule, operation.replace("_", " ").capitalize())
        for resource, (reads, writes, rest) in _OPERATIONS.items()
        for rule, operations in (("rule:reader", reads), ("rule:writer", writes), ("rule:admin", rest))
        for operation in operations
    ]


def list_rules() -> list[policy.RuleDefault]:
    """Return all rules, for `oslopolicy-sample-generator --namespace isthmus`."""
    return [*BASE_RULES, *migration_rules()]
