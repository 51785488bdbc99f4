"""Executions of some instances, retries; waves of transfers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("executions", sa.Column("instances", sa.JSON(), nullable=True))
    for flag in ("keep_partial", "hold_on_error"):
        op.add_column(
            "executions", sa.Column(flag, sa.Boolean(), nullable=False, server_default=sa.sql.expression.false())
        )
    op.add_column("executions", sa.Column("retry_of", sa.String(length=36), nullable=True))
    op.add_column("deployments", sa.Column("retry_of", sa.String(length=36), nullable=True))
    op.add_column("deployments", sa.Column("test", sa.JSON(), nullable=True))
    op.add_column("deployments", sa.Column("luks_secret_ref", sa.String(length=1024), nullable=True))
    op.add_column("transfers", sa.Column("failback_of", sa.String(length=36), nullable=True))
    _create_waves()
    _create_groups()
    _create_members()


def _create_waves() -> None:
    op.create_table(
        "waves",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("trust_id", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("starts_at", MOMENT, nullable=True),
        sa.Column("max_in_flight", sa.Integer(), nullable=False),
        sa.Column("auto_deploy", sa.Boolean(), nullable=False),
        sa.Column("shutdown_instances", sa.Boolean(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=True),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    for column in ("project_id", "status"):
        op.create_index(f"ix_waves_{column}", "waves", [column])


def _create_groups() -> None:
    op.create_table(
        "wave_groups",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("wave_id", sa.String(length=36), nullable=False),
        sa.Column("group_index", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("gate", sa.String(length=16), nullable=False),
        sa.Column("approved", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["wave_id"], ["waves.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("wave_id", "group_index"),
    )


def _create_members() -> None:
    op.create_table(
        "wave_members",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("group_id", sa.String(length=36), nullable=False),
        sa.Column("member_index", sa.Integer(), nullable=False),
        sa.Column("transfer_id", sa.String(length=36), nullable=False),
        sa.Column("instances", sa.JSON(), nullable=True),
        sa.Column("status", sa.String(length=40), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("execution_id", sa.String(length=36), nullable=True),
        sa.Column("deployment_id", sa.String(length=36), nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("ended_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["group_id"], ["wave_groups.id"]),
        sa.ForeignKeyConstraint(["transfer_id"], ["transfers.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("group_id", "member_index"),
    )
    for column in ("transfer_id", "execution_id"):
        op.create_index(f"ix_wave_members_{column}", "wave_members", [column])
