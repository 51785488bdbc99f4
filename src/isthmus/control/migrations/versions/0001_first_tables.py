"""First tables: endpoints, transfers, deployments, executions with their tasks, trusts, the outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# MySQL and MariaDB cut times to seconds and texts to 64 KiB unless told otherwise.
MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
LONG_TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    _create_endpoints()
    _create_executions()
    _create_outbox()
    _create_trusts()
    _create_tasks()
    _create_transfers()
    _create_deployments()
    _create_task_events()
    _create_task_progress_updates()


def _create_endpoints() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("connection_info", sa.JSON(), nullable=False),
        sa.Column("owns_secret", sa.Boolean(), nullable=False),
        sa.Column("mapped_regions", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_endpoints_project_id", "endpoints", ["project_id"])


def _create_executions() -> None:
    op.create_table(
        "executions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("action_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("shutdown_instances", sa.Boolean(), nullable=False),
        sa.Column("auto_deploy", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("executions_by_action", "executions", ["action_id", "number"], unique=True)
    op.create_index("ix_executions_project_id", "executions", ["project_id"])
    op.create_index("ix_executions_status", "executions", ["status"])


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("workflow_id", sa.String(length=255), nullable=False),
        sa.Column("workflow", sa.String(length=100), nullable=False),
        sa.Column("input", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def _create_trusts() -> None:
    op.create_table(
        "trusts",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_trusts_user_id", "trusts", ["user_id"])


def _create_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("execution_id", sa.String(length=36), nullable=False),
        sa.Column("instance", sa.String(length=1024), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=True),
        sa.Column("process_id", sa.Integer(), nullable=True),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("task_type", sa.String(length=100), nullable=False),
        sa.Column("exception_details", LONG_TEXT, nullable=True),
        sa.Column("depends_on", sa.JSON(), nullable=False),
        sa.Column("task_index", sa.Integer(), nullable=False),
        sa.Column("on_error", sa.Boolean(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_tasks_execution_id", "tasks", ["execution_id"])


def _create_transfers() -> None:
    op.create_table(
        "transfers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("trust_id", sa.String(length=64), nullable=True),
        sa.Column("scenario", sa.String(length=32), nullable=False),
        sa.Column("origin_endpoint_id", sa.String(length=36), nullable=False),
        sa.Column("destination_endpoint_id", sa.String(length=36), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("source_environment", sa.JSON(), nullable=False),
        sa.Column("destination_environment", sa.JSON(), nullable=False),
        sa.Column("network_map", sa.JSON(), nullable=False),
        sa.Column("storage_mappings", sa.JSON(), nullable=False),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("user_scripts", sa.JSON(), nullable=True),
        sa.Column("origin_minion_pool_id", sa.String(length=36), nullable=True),
        sa.Column("destination_minion_pool_id", sa.String(length=36), nullable=True),
        sa.Column("instance_osmorphing_minion_pool_mappings", sa.JSON(), nullable=True),
        sa.Column("clone_disks", sa.Boolean(), nullable=False),
        sa.Column("skip_os_morphing", sa.Boolean(), nullable=False),
        sa.Column("last_execution_status", sa.String(length=40), nullable=False),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["destination_endpoint_id"],
            ["endpoints.id"],
        ),
        sa.ForeignKeyConstraint(
            ["origin_endpoint_id"],
            ["endpoints.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_transfers_destination_endpoint_id", "transfers", ["destination_endpoint_id"])
    op.create_index("ix_transfers_origin_endpoint_id", "transfers", ["origin_endpoint_id"])
    op.create_index("ix_transfers_project_id", "transfers", ["project_id"])


def _create_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("trust_id", sa.String(length=64), nullable=True),
        sa.Column("transfer_id", sa.String(length=36), nullable=False),
        sa.Column("deployer_id", sa.String(length=36), nullable=True),
        sa.Column("instances", sa.JSON(), nullable=False),
        sa.Column("clone_disks", sa.Boolean(), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("skip_os_morphing", sa.Boolean(), nullable=False),
        sa.Column("instance_osmorphing_minion_pool_mappings", sa.JSON(), nullable=True),
        sa.Column("user_scripts", sa.JSON(), nullable=True),
        sa.Column("last_execution_status", sa.String(length=40), nullable=False),
        sa.Column("transfer_result", sa.JSON(), nullable=True),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["transfer_id"],
            ["transfers.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_deployments_project_id", "deployments", ["project_id"])
    op.create_index("ix_deployments_transfer_id", "deployments", ["transfer_id"])


def _create_task_events() -> None:
    op.create_table(
        "task_events",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("task_id", sa.String(length=36), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("message", LONG_TEXT, nullable=False),
        sa.Column("event_index", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("task_events_by_task", "task_events", ["task_id", "event_index"], unique=True)


def _create_task_progress_updates() -> None:
    op.create_table(
        "task_progress_updates",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("task_id", sa.String(length=36), nullable=False),
        sa.Column("progress_index", sa.Integer(), nullable=False),
        sa.Column("current_step", sa.BigInteger(), nullable=False),
        sa.Column("total_steps", sa.BigInteger(), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("task_progress_by_task", "task_progress_updates", ["task_id", "progress_index"], unique=True)
