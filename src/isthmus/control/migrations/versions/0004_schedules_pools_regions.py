"""Schedules, regions, services, minion pools; what an update of a transfer shall change."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("executions", sa.Column("requested", sa.JSON(), nullable=True))
    _create_schedules()
    _create_regions()
    _create_services()
    _create_pools()
    _create_machines()
    _create_pool_events()


def _stamps() -> list[sa.Column[object]]:
    return [
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
    ]


def _create_schedules() -> None:
    op.create_table(
        "transfer_schedules",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("transfer_id", sa.String(length=36), nullable=False),
        sa.Column("trust_id", sa.String(length=64), nullable=True),
        sa.Column("schedule", sa.JSON(), nullable=False),
        sa.Column("expiration_date", MOMENT, nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("shutdown_instance", sa.Boolean(), nullable=False),
        sa.Column("auto_deploy", sa.Boolean(), nullable=False),
        sa.Column("next_due_at", MOMENT, nullable=True),
        *_stamps(),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("project_id", "transfer_id", "next_due_at"):
        op.create_index(f"ix_transfer_schedules_{column}", "transfer_schedules", [column])
    op.create_table(
        "transfer_schedule_firings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("schedule_id", sa.String(length=36), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("outcome", sa.String(length=10), nullable=False),
        sa.Column("execution_id", sa.String(length=36), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["schedule_id"], ["transfer_schedules.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("schedule_id", "due_at"),
    )


def _create_regions() -> None:
    op.create_table(
        "regions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )


def _create_services() -> None:
    op.create_table(
        "services",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("binary", sa.String(length=64), nullable=False),
        sa.Column("topic", sa.String(length=255), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("mapped_regions", sa.JSON(), nullable=False),
        sa.Column("providers", sa.JSON(), nullable=False),
        sa.Column("specs", sa.JSON(), nullable=False),
        sa.Column("reported_at", MOMENT, nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("host", "binary", "topic"),
    )


def _create_pools() -> None:
    op.create_table(
        "minion_pools",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("maintenance_trust_id", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("endpoint_id", sa.String(length=36), nullable=False),
        sa.Column("os_type", sa.String(length=16), nullable=False),
        sa.Column("platform", sa.String(length=16), nullable=False),
        sa.Column("environment_options", sa.JSON(), nullable=False),
        sa.Column("minimum_minions", sa.Integer(), nullable=False),
        sa.Column("maximum_minions", sa.Integer(), nullable=False),
        sa.Column("minion_max_idle_time", sa.Integer(), nullable=False),
        sa.Column("minion_retention_strategy", sa.String(length=16), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=40), nullable=False),
        *_stamps(),
        sa.ForeignKeyConstraint(["endpoint_id"], ["endpoints.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("project_id", "endpoint_id", "status"):
        op.create_index(f"ix_minion_pools_{column}", "minion_pools", [column])


def _create_machines() -> None:
    op.create_table(
        "minion_machines",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pool_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("allocation_status", sa.String(length=20), nullable=False),
        sa.Column("power_status", sa.String(length=20), nullable=False),
        sa.Column("allocated_action", sa.String(length=36), nullable=True),
        sa.Column("allocated_instance", sa.String(length=1024), nullable=True),
        sa.Column("last_used_at", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["pool_id"], ["minion_pools.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("pool_id", "number"),
    )
    op.create_index("ix_minion_machines_allocated_action", "minion_machines", ["allocated_action"])


def _create_pool_events() -> None:
    op.create_table(
        "minion_pool_events",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pool_id", sa.String(length=36), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.Column("event_index", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["minion_pools.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("pool_id", "event_index"),
    )
