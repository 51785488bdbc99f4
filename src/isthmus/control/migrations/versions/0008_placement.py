"""Placement: workers as they were last heard of, the line of disk steps and the places that they hold."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("regions", sa.JSON(), nullable=False),
        sa.Column("platforms", sa.JSON(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("staging_total", sa.BigInteger(), nullable=False),
        sa.Column("staging_free", sa.BigInteger(), nullable=False),
        sa.Column("link_bandwidth", sa.BigInteger(), nullable=False),
        sa.Column("copy_limit", sa.BigInteger(), nullable=False),
        sa.Column("leased", sa.Boolean(), nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_index("ix_workers_host", "workers", ["host"])
    op.create_table(
        "placements",
        sa.Column("step_id", sa.String(36), primary_key=True),
        sa.Column("execution_id", sa.String(36), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("wish", sa.JSON(), nullable=False),
        sa.Column("worker_id", sa.String(36), nullable=True),
        sa.Column("bandwidth", sa.BigInteger(), nullable=False),
        sa.Column("waits_for", sa.Text(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("held_at", MOMENT, nullable=True),
    )
    op.create_index("ix_placements_execution_id", "placements", ["execution_id"])
    op.create_index("ix_placements_worker_id", "placements", ["worker_id"])
    op.create_index("placements_in_order", "placements", ["number"])
    turns = op.create_table(
        "placement_turns",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.bulk_insert(turns, [{"id": 1, "number": 0}])
