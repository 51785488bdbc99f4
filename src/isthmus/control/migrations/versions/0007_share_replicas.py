"""Replicas of shares: which instance stands for a share, when each was asked for its state; pages by offset."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    op.add_column("share_instances", sa.Column("is_primary", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("share_instances", sa.Column("replica_asked_at", MOMENT, nullable=True))
    # All that a page skips, or counts, is read from these alone.
    op.create_index(
        "share_shares_pages_of_project", "share_shares", ["project_id", "is_soft_deleted", "created_at", "id"]
    )
    op.create_index("share_shares_pages_of_all", "share_shares", ["is_soft_deleted", "created_at", "id"])
    op.create_index("share_instances_by_status", "share_instances", ["status", "share_id"])
    for name in ("share_shares_by_project", "share_shares_by_age"):
        op.drop_index(name, "share_shares")
    _count_first_replicas()


def _count_first_replicas() -> None:
    """Make the shares of replicated types, which have had one uncounted instance, their own first replicas."""
    shares = sa.table("share_shares", *map(sa.column, ("id", "project_id", "user_id", "size", "replication_type")))
    instances = sa.table("share_instances", *map(sa.column, ("share_id", "share_type_id", "replica_state")))
    usages = sa.table(
        "share_usages",
        *map(sa.column, ("project_id", "user_id", "share_type_id", "share_replicas", "replica_gigabytes")),
    )
    replicated = sa.select(shares.c.id).where(shares.c.replication_type.is_not(None), shares.c.size > 0)
    op.execute(sa.update(instances).where(instances.c.share_id.in_(replicated)).values(replica_state="active"))
    counted = (
        shares.c.replication_type.is_not(None),
        instances.c.share_id == shares.c.id,
        shares.c.project_id == usages.c.project_id,
        sa.or_(usages.c.user_id == "", usages.c.user_id == shares.c.user_id),
        sa.or_(usages.c.share_type_id == "", usages.c.share_type_id == instances.c.share_type_id),
        shares.c.size > 0,
    )
    both = shares.join(instances, instances.c.share_id == shares.c.id)
    number = sa.select(sa.func.count()).select_from(both).where(*counted)
    size = sa.select(sa.func.coalesce(sa.func.sum(shares.c.size), 0)).select_from(both).where(*counted)
    op.execute(
        sa.update(usages).values(
            share_replicas=number.scalar_subquery().correlate(usages),
            replica_gigabytes=size.scalar_subquery().correlate(usages),
        )
    )
