"""Snapshots, their instances, how they are mounted and by whom."""

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.shares.tables.columns import Id, Keystone, Name, Stamped, Word


class SnapshotRow(Stamped, Base):
    """A moment of a share."""

    __tablename__ = "share_snapshots"
    __table_args__ = (
        Index("share_snapshots_by_project", "project_id", "created_at", "id"),
        Index("share_snapshots_by_age", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    share_id: Mapped[str] = mapped_column(ForeignKey("share_shares.id"), index=True)
    project_id: Mapped[str] = mapped_column(Keystone)
    user_id: Mapped[str] = mapped_column(Keystone)
    name: Mapped[str | None] = mapped_column(Name)
    description: Mapped[str | None] = mapped_column(Name)
    size: Mapped[int] = mapped_column(Integer)
    share_size: Mapped[int] = mapped_column(Integer)
    share_protocol: Mapped[str] = mapped_column(Word)


class SnapshotInstanceRow(Stamped, Base):
    """A snapshot as it lies with one share instance. A member of a group snapshot is one of these too."""

    __tablename__ = "share_snapshot_instances"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    # A member of a group's snapshot has no snapshot of its own in the API.
    snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("share_snapshots.id"), index=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("share_instances.id"), index=True)
    group_snapshot_id: Mapped[str | None] = mapped_column(ForeignKey("share_group_snapshots.id"), index=True)
    status: Mapped[str] = mapped_column(Word)
    progress: Mapped[str | None] = mapped_column(String(32))
    provider_location: Mapped[str | None] = mapped_column(String(1023))
    share_id: Mapped[str] = mapped_column(Id)
    size: Mapped[int] = mapped_column(Integer)
    share_protocol: Mapped[str] = mapped_column(Word)
    project_id: Mapped[str] = mapped_column(Keystone)
    user_id: Mapped[str] = mapped_column(Keystone)


class SnapshotExportRow(Stamped, Base):
    """One way to mount a snapshot instance."""

    __tablename__ = "share_snapshot_exports"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    snapshot_instance_id: Mapped[str] = mapped_column(ForeignKey("share_snapshot_instances.id"), index=True)
    path: Mapped[str] = mapped_column(String(2000))
    is_admin_only: Mapped[bool] = mapped_column(Boolean, default=False)


class SnapshotRuleRow(Stamped, Base):
    """Who may mount a snapshot; always read-only."""

    __tablename__ = "share_snapshot_rules"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    snapshot_id: Mapped[str] = mapped_column(ForeignKey("share_snapshots.id"), index=True)
    access_type: Mapped[str] = mapped_column(Word)
    access_to: Mapped[str] = mapped_column(Name)


class SnapshotRuleStateRow(Base):
    """How far a rule is applied on one snapshot instance."""

    __tablename__ = "share_snapshot_rule_states"

    rule_id: Mapped[str] = mapped_column(ForeignKey("share_snapshot_rules.id"), primary_key=True)
    snapshot_instance_id: Mapped[str] = mapped_column(ForeignKey("share_snapshot_instances.id"), primary_key=True)
    state: Mapped[str] = mapped_column(Word)
