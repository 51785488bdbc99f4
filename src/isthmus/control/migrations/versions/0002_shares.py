"""The shares service's tables."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    _create_share_availability_zones()
    _create_share_driver_private()
    _create_share_group_types()
    _create_share_jobs()
    _create_share_locks()
    _create_share_messages()
    _create_share_metadata()
    _create_share_networks()
    _create_share_pools()
    _create_share_project_quotas()
    _create_share_quota_classes()
    _create_share_security_services()
    _create_share_services()
    _create_share_shares()
    _create_share_type_projects()
    _create_share_type_quotas()
    _create_share_type_specs()
    _create_share_types()
    _create_share_usages()
    _create_share_user_quotas()
    _create_share_group_type_share_types()
    _create_share_groups()
    _create_share_instances()
    _create_share_network_security_services()
    _create_share_network_subnets()
    _create_share_rules()
    _create_share_snapshots()
    _create_share_transfers()
    _create_share_exports()
    _create_share_group_share_types()
    _create_share_group_snapshots()
    _create_share_rule_states()
    _create_share_snapshot_rules()
    _create_share_snapshot_instances()
    _create_share_snapshot_exports()
    _create_share_snapshot_rule_states()


def _create_share_availability_zones() -> None:
    op.create_table(
        "share_availability_zones",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _create_share_driver_private() -> None:
    op.create_table(
        "share_driver_private",
        sa.Column("entity_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=1023), nullable=False),
        sa.PrimaryKeyConstraint("entity_id", "key"),
    )


def _create_share_group_types() -> None:
    op.create_table(
        "share_group_types",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _create_share_jobs() -> None:
    op.create_table(
        "share_jobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("backend", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=36), nullable=False),
        sa.Column("argument", sa.JSON(), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("not_before", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.String(length=255), nullable=True),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("share_jobs_by_subject", "share_jobs", ["subject", "id"], unique=False)
    op.create_index("share_jobs_due", "share_jobs", ["backend", "not_before", "id"], unique=False)


def _create_share_locks() -> None:
    op.create_table(
        "share_locks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("lock_context", sa.String(length=10), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("resource_action", sa.String(length=64), nullable=False),
        sa.Column("lock_reason", sa.String(length=1023), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_locks_project_id"), "share_locks", ["project_id"], unique=False)
    op.create_index(op.f("ix_share_locks_resource_id"), "share_locks", ["resource_id"], unique=False)


def _create_share_messages() -> None:
    op.create_table(
        "share_messages",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("resource_type", sa.String(length=64), nullable=True),
        sa.Column("resource_id", sa.String(length=36), nullable=True),
        sa.Column("action_id", sa.String(length=10), nullable=False),
        sa.Column("detail_id", sa.String(length=10), nullable=True),
        sa.Column("text", LONG_TEXT, nullable=True),
        sa.Column("message_level", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("share_messages_by_project", "share_messages", ["project_id", "created_at", "id"], unique=False)


def _create_share_metadata() -> None:
    op.create_table(
        "share_metadata",
        sa.Column("object_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=1023), nullable=False),
        sa.PrimaryKeyConstraint("object_id", "key"),
    )
    op.create_index("share_metadata_by_key", "share_metadata", ["key", "object_id"], unique=False)


def _create_share_networks() -> None:
    op.create_table(
        "share_networks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_networks_project_id"), "share_networks", ["project_id"], unique=False)


def _create_share_pools() -> None:
    op.create_table(
        "share_pools",
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("backend", sa.String(length=255), nullable=False),
        sa.Column("total_gib", sa.Float(), nullable=True),
        sa.Column("free_gib", sa.Float(), nullable=True),
        sa.Column("allocated_gib", sa.Float(), nullable=True),
        sa.Column("placed_gib", sa.Integer(), nullable=False),
        sa.Column("promised_gib", sa.Integer(), nullable=False),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("host"),
    )
    op.create_index(op.f("ix_share_pools_backend"), "share_pools", ["backend"], unique=False)


def _create_share_project_quotas() -> None:
    op.create_table(
        "share_project_quotas",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "resource"),
    )


def _create_share_quota_classes() -> None:
    op.create_table(
        "share_quota_classes",
        sa.Column("class_name", sa.String(length=255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("class_name", "resource"),
    )


def _create_share_security_services() -> None:
    op.create_table(
        "share_security_services",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("dns_ip", sa.String(length=64), nullable=True),
        sa.Column("server", sa.String(length=255), nullable=True),
        sa.Column("domain", sa.String(length=255), nullable=True),
        sa.Column("user", sa.String(length=255), nullable=True),
        sa.Column("password_ref", sa.String(length=512), nullable=True),
        sa.Column("ou", sa.String(length=255), nullable=True),
        sa.Column("default_ad_site", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_share_security_services_project_id"), "share_security_services", ["project_id"], unique=False
    )


def _create_share_services() -> None:
    op.create_table(
        "share_services",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("binary", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("availability_zone", sa.String(length=255), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.String(length=255), nullable=True),
        sa.Column("ensuring", sa.Boolean(), nullable=False),
        sa.Column("heartbeat_at", MOMENT, nullable=True),
        sa.Column("answers", sa.Boolean(), nullable=False),
        sa.Column("trouble", LONG_TEXT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("host"),
    )


def _create_share_shares() -> None:
    op.create_table(
        "share_shares",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("protocol", sa.String(length=64), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("share_group_id", sa.String(length=36), nullable=True),
        sa.Column("source_share_group_snapshot_member_id", sa.String(length=36), nullable=True),
        sa.Column("source_backup_id", sa.String(length=36), nullable=True),
        sa.Column("snapshot_support", sa.Boolean(), nullable=False),
        sa.Column("create_share_from_snapshot_support", sa.Boolean(), nullable=False),
        sa.Column("revert_to_snapshot_support", sa.Boolean(), nullable=False),
        sa.Column("mount_snapshot_support", sa.Boolean(), nullable=False),
        sa.Column("snapshot_inherit_share_access_support", sa.Boolean(), nullable=False),
        sa.Column("replication_type", sa.String(length=64), nullable=True),
        sa.Column("task_state", sa.String(length=64), nullable=True),
        sa.Column("is_soft_deleted", sa.Boolean(), nullable=False),
        sa.Column("scheduled_to_be_deleted_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_share_shares_scheduled_to_be_deleted_at"), "share_shares", ["scheduled_to_be_deleted_at"], unique=False
    )
    op.create_index(op.f("ix_share_shares_share_group_id"), "share_shares", ["share_group_id"], unique=False)
    op.create_index(op.f("ix_share_shares_snapshot_id"), "share_shares", ["snapshot_id"], unique=False)
    op.create_index("share_shares_by_age", "share_shares", ["created_at", "id"], unique=False)
    op.create_index("share_shares_by_project", "share_shares", ["project_id", "created_at", "id"], unique=False)


def _create_share_type_projects() -> None:
    op.create_table(
        "share_type_projects",
        sa.Column("type_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("type_id", "project_id"),
    )


def _create_share_type_quotas() -> None:
    op.create_table(
        "share_type_quotas",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("share_type_id", sa.String(length=36), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "share_type_id", "resource"),
    )


def _create_share_type_specs() -> None:
    op.create_table(
        "share_type_specs",
        sa.Column("type_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("type_id", "key"),
    )


def _create_share_types() -> None:
    op.create_table(
        "share_types",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _create_share_usages() -> None:
    op.create_table(
        "share_usages",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("share_type_id", sa.String(length=36), nullable=False),
        sa.Column("shares", sa.Integer(), nullable=False),
        sa.Column("gigabytes", sa.Integer(), nullable=False),
        sa.Column("snapshots", sa.Integer(), nullable=False),
        sa.Column("snapshot_gigabytes", sa.Integer(), nullable=False),
        sa.Column("share_networks", sa.Integer(), nullable=False),
        sa.Column("share_groups", sa.Integer(), nullable=False),
        sa.Column("share_group_snapshots", sa.Integer(), nullable=False),
        sa.Column("share_replicas", sa.Integer(), nullable=False),
        sa.Column("replica_gigabytes", sa.Integer(), nullable=False),
        sa.Column("backups", sa.Integer(), nullable=False),
        sa.Column("backup_gigabytes", sa.Integer(), nullable=False),
        sa.Column("encryption_keys", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", "share_type_id"),
    )


def _create_share_user_quotas() -> None:
    op.create_table(
        "share_user_quotas",
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", "resource"),
    )


def _create_share_group_type_share_types() -> None:
    op.create_table(
        "share_group_type_share_types",
        sa.Column("group_type_id", sa.String(length=36), nullable=False),
        sa.Column("share_type_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_type_id"],
            ["share_group_types.id"],
        ),
        sa.ForeignKeyConstraint(
            ["share_type_id"],
            ["share_types.id"],
        ),
        sa.PrimaryKeyConstraint("group_type_id", "share_type_id"),
    )


def _create_share_groups() -> None:
    op.create_table(
        "share_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("availability_zone", sa.String(length=255), nullable=True),
        sa.Column("share_group_type_id", sa.String(length=36), nullable=True),
        sa.Column("share_network_id", sa.String(length=36), nullable=True),
        sa.Column("share_server_id", sa.String(length=36), nullable=True),
        sa.Column("source_share_group_snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("consistent_snapshot_support", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["share_group_type_id"],
            ["share_group_types.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_groups_share_group_type_id"), "share_groups", ["share_group_type_id"], unique=False)
    op.create_index("share_groups_by_project", "share_groups", ["project_id", "created_at", "id"], unique=False)


def _create_share_instances() -> None:
    op.create_table(
        "share_instances",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("share_id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("access_rules_status", sa.String(length=64), nullable=False),
        sa.Column("availability_zone", sa.String(length=255), nullable=True),
        sa.Column("share_type_id", sa.String(length=36), nullable=True),
        sa.Column("share_network_id", sa.String(length=36), nullable=True),
        sa.Column("share_server_id", sa.String(length=36), nullable=True),
        sa.Column("replica_state", sa.String(length=64), nullable=True),
        sa.Column("cast_rules_to_readonly", sa.Boolean(), nullable=False),
        sa.Column("mount_point_name", sa.String(length=255), nullable=True),
        sa.Column("encryption_key_ref", sa.String(length=36), nullable=True),
        sa.Column("progress", sa.String(length=32), nullable=True),
        sa.Column("scheduled_at", MOMENT, nullable=True),
        sa.Column("launched_at", MOMENT, nullable=True),
        sa.Column("terminated_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["share_id"],
            ["share_shares.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_instances_share_id"), "share_instances", ["share_id"], unique=False)
    op.create_index(op.f("ix_share_instances_share_network_id"), "share_instances", ["share_network_id"], unique=False)
    op.create_index(op.f("ix_share_instances_share_type_id"), "share_instances", ["share_type_id"], unique=False)
    op.create_index("share_instances_by_host", "share_instances", ["host", "status"], unique=False)


def _create_share_network_security_services() -> None:
    op.create_table(
        "share_network_security_services",
        sa.Column("share_network_id", sa.String(length=36), nullable=False),
        sa.Column("security_service_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["security_service_id"],
            ["share_security_services.id"],
        ),
        sa.ForeignKeyConstraint(
            ["share_network_id"],
            ["share_networks.id"],
        ),
        sa.PrimaryKeyConstraint("share_network_id", "security_service_id"),
    )


def _create_share_network_subnets() -> None:
    op.create_table(
        "share_network_subnets",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("share_network_id", sa.String(length=36), nullable=False),
        sa.Column("availability_zone", sa.String(length=255), nullable=True),
        sa.Column("neutron_net_id", sa.String(length=36), nullable=True),
        sa.Column("neutron_subnet_id", sa.String(length=36), nullable=True),
        sa.Column("network_type", sa.String(length=32), nullable=True),
        sa.Column("segmentation_id", sa.Integer(), nullable=True),
        sa.Column("cidr", sa.String(length=64), nullable=True),
        sa.Column("gateway", sa.String(length=64), nullable=True),
        sa.Column("mtu", sa.Integer(), nullable=True),
        sa.Column("ip_version", sa.Integer(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["share_network_id"],
            ["share_networks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_share_network_subnets_share_network_id"), "share_network_subnets", ["share_network_id"], unique=False
    )


def _create_share_rules() -> None:
    op.create_table(
        "share_rules",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("share_id", sa.String(length=36), nullable=False),
        sa.Column("access_type", sa.String(length=64), nullable=False),
        sa.Column("access_to", sa.String(length=255), nullable=False),
        sa.Column("access_level", sa.String(length=2), nullable=False),
        sa.Column("access_key", sa.String(length=255), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["share_id"],
            ["share_shares.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("share_rules_by_share", "share_rules", ["share_id", "created_at"], unique=False)


def _create_share_snapshots() -> None:
    op.create_table(
        "share_snapshots",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("share_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("share_size", sa.Integer(), nullable=False),
        sa.Column("share_protocol", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["share_id"],
            ["share_shares.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_snapshots_share_id"), "share_snapshots", ["share_id"], unique=False)
    op.create_index("share_snapshots_by_age", "share_snapshots", ["created_at", "id"], unique=False)
    op.create_index("share_snapshots_by_project", "share_snapshots", ["project_id", "created_at", "id"], unique=False)


def _create_share_transfers() -> None:
    op.create_table(
        "share_transfers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("resource_type", sa.String(length=64), nullable=False),
        sa.Column("resource_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("salt", sa.String(length=255), nullable=False),
        sa.Column("key_hash", sa.String(length=255), nullable=False),
        sa.Column("source_project_id", sa.String(length=64), nullable=False),
        sa.Column("destination_project_id", sa.String(length=64), nullable=True),
        sa.Column("accepted", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["resource_id"],
            ["share_shares.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_transfers_expires_at"), "share_transfers", ["expires_at"], unique=False)
    op.create_index(op.f("ix_share_transfers_resource_id"), "share_transfers", ["resource_id"], unique=False)
    op.create_index(
        op.f("ix_share_transfers_source_project_id"), "share_transfers", ["source_project_id"], unique=False
    )


def _create_share_exports() -> None:
    op.create_table(
        "share_exports",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("instance_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=2000), nullable=False),
        sa.Column("is_admin_only", sa.Boolean(), nullable=False),
        sa.Column("preferred", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["share_instances.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_exports_instance_id"), "share_exports", ["instance_id"], unique=False)


def _create_share_group_share_types() -> None:
    op.create_table(
        "share_group_share_types",
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("share_type_id", sa.String(length=36), nullable=False),
        sa.ForeignKeyConstraint(
            ["group_id"],
            ["share_groups.id"],
        ),
        sa.ForeignKeyConstraint(
            ["share_type_id"],
            ["share_types.id"],
        ),
        sa.PrimaryKeyConstraint("group_id", "share_type_id"),
    )


def _create_share_group_snapshots() -> None:
    op.create_table(
        "share_group_snapshots",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("share_group_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=True),
        sa.Column("description", sa.String(length=255), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["share_group_id"],
            ["share_groups.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_share_group_snapshots_share_group_id"), "share_group_snapshots", ["share_group_id"], unique=False
    )
    op.create_index(
        "share_group_snapshots_by_project", "share_group_snapshots", ["project_id", "created_at", "id"], unique=False
    )


def _create_share_rule_states() -> None:
    op.create_table(
        "share_rule_states",
        sa.Column("rule_id", sa.String(length=36), nullable=False),
        sa.Column("instance_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["share_instances.id"],
        ),
        sa.ForeignKeyConstraint(
            ["rule_id"],
            ["share_rules.id"],
        ),
        sa.PrimaryKeyConstraint("rule_id", "instance_id"),
    )
    op.create_index("share_rule_states_by_instance", "share_rule_states", ["instance_id", "state"], unique=False)


def _create_share_snapshot_rules() -> None:
    op.create_table(
        "share_snapshot_rules",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36), nullable=False),
        sa.Column("access_type", sa.String(length=64), nullable=False),
        sa.Column("access_to", sa.String(length=255), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["share_snapshots.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(op.f("ix_share_snapshot_rules_snapshot_id"), "share_snapshot_rules", ["snapshot_id"], unique=False)


def _create_share_snapshot_instances() -> None:
    op.create_table(
        "share_snapshot_instances",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("instance_id", sa.String(length=36), nullable=False),
        sa.Column("group_snapshot_id", sa.String(length=36), nullable=True),
        sa.Column("status", sa.String(length=64), nullable=False),
        sa.Column("progress", sa.String(length=32), nullable=True),
        sa.Column("provider_location", sa.String(length=1023), nullable=True),
        sa.Column("share_id", sa.String(length=36), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("share_protocol", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["group_snapshot_id"],
            ["share_group_snapshots.id"],
        ),
        sa.ForeignKeyConstraint(
            ["instance_id"],
            ["share_instances.id"],
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_id"],
            ["share_snapshots.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_share_snapshot_instances_group_snapshot_id"),
        "share_snapshot_instances",
        ["group_snapshot_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_share_snapshot_instances_instance_id"), "share_snapshot_instances", ["instance_id"], unique=False
    )
    op.create_index(
        op.f("ix_share_snapshot_instances_snapshot_id"), "share_snapshot_instances", ["snapshot_id"], unique=False
    )


def _create_share_snapshot_exports() -> None:
    op.create_table(
        "share_snapshot_exports",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_instance_id", sa.String(length=36), nullable=False),
        sa.Column("path", sa.String(length=2000), nullable=False),
        sa.Column("is_admin_only", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["snapshot_instance_id"],
            ["share_snapshot_instances.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        op.f("ix_share_snapshot_exports_snapshot_instance_id"),
        "share_snapshot_exports",
        ["snapshot_instance_id"],
        unique=False,
    )


def _create_share_snapshot_rule_states() -> None:
    op.create_table(
        "share_snapshot_rule_states",
        sa.Column("rule_id", sa.String(length=36), nullable=False),
        sa.Column("snapshot_instance_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["rule_id"],
            ["share_snapshot_rules.id"],
        ),
        sa.ForeignKeyConstraint(
            ["snapshot_instance_id"],
            ["share_snapshot_instances.id"],
        ),
        sa.PrimaryKeyConstraint("rule_id", "snapshot_instance_id"),
    )
