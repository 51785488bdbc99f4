"""Shares, their instances, export locations, access rules and metadata."""

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String, true
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.shares.tables.columns import Id, Keystone, Moment, Name, Stamped, Word


class ShareRow(Stamped, Base):
    """What a tenant asked for. Where and how it lies is with its instances: one, or one for each replica."""

    __tablename__ = "share_shares"
    __table_args__ = (
        # The list's own order, newest first: what a page skips is read from these alone.
        Index("share_shares_pages_of_project", "project_id", "is_soft_deleted", "created_at", "id"),
        Index("share_shares_pages_of_all", "is_soft_deleted", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Keystone)
    user_id: Mapped[str] = mapped_column(Keystone)
    name: Mapped[str | None] = mapped_column(Name)
    description: Mapped[str | None] = mapped_column(Name)
    size: Mapped[int] = mapped_column(Integer)
    protocol: Mapped[str] = mapped_column(Word)
    is_public: Mapped[bool] = mapped_column(Boolean, default=False)
    snapshot_id: Mapped[str | None] = mapped_column(Id, index=True)
    share_group_id: Mapped[str | None] = mapped_column(Id, index=True)
    source_share_group_snapshot_member_id: Mapped[str | None] = mapped_column(Id)
    source_backup_id: Mapped[str | None] = mapped_column(Id)
    snapshot_support: Mapped[bool] = mapped_column(Boolean, default=False)
    create_share_from_snapshot_support: Mapped[bool] = mapped_column(Boolean, default=False)
    revert_to_snapshot_support: Mapped[bool] = mapped_column(Boolean, default=False)
    mount_snapshot_support: Mapped[bool] = mapped_column(Boolean, default=False)
    snapshot_inherit_share_access_support: Mapped[bool] = mapped_column(Boolean, default=False)
    replication_type: Mapped[str | None] = mapped_column(Word)
    task_state: Mapped[str | None] = mapped_column(Word)
    is_soft_deleted: Mapped[bool] = mapped_column(Boolean, default=False)
    scheduled_to_be_deleted_at: Mapped[datetime | None] = mapped_column(Moment, index=True)


class InstanceRow(Stamped, Base):
    """One place where a share's bytes lie. `host` is `machine@back end#pool`, empty until the scheduler chose.

    Of several (replicas) one `is_primary`: it stands for the share in the API. `replica_state` is None of a share that
    is not replicated; `replica_asked_at` is when its back end was last asked for it.
    """

    __tablename__ = "share_instances"
    __table_args__ = (
        Index("share_instances_by_host", "host", "status"),
        Index("share_instances_by_status", "status", "share_id"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    share_id: Mapped[str] = mapped_column(ForeignKey("share_shares.id"), index=True)
    host: Mapped[str | None] = mapped_column(Name)
    status: Mapped[str] = mapped_column(Word)
    access_rules_status: Mapped[str] = mapped_column(Word, default="active")
    availability_zone: Mapped[str | None] = mapped_column(Name)
    share_type_id: Mapped[str | None] = mapped_column(Id, index=True)
    share_network_id: Mapped[str | None] = mapped_column(Id, index=True)
    share_server_id: Mapped[str | None] = mapped_column(Id)
    is_primary: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    replica_state: Mapped[str | None] = mapped_column(Word)
    replica_asked_at: Mapped[datetime | None] = mapped_column(Moment)
    cast_rules_to_readonly: Mapped[bool] = mapped_column(Boolean, default=False)
    mount_point_name: Mapped[str | None] = mapped_column(Name)
    encryption_key_ref: Mapped[str | None] = mapped_column(Id)
    progress: Mapped[str | None] = mapped_column(String(32))
    scheduled_at: Mapped[datetime | None] = mapped_column(Moment)
    launched_at: Mapped[datetime | None] = mapped_column(Moment)
    terminated_at: Mapped[datetime | None] = mapped_column(Moment)


class ExportRow(Stamped, Base):
    """One way to mount a share instance."""

    __tablename__ = "share_exports"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("share_instances.id"), index=True)
    position: Mapped[int] = mapped_column(Integer)
    path: Mapped[str] = mapped_column(String(2000))
    is_admin_only: Mapped[bool] = mapped_column(Boolean, default=False)
    preferred: Mapped[bool] = mapped_column(Boolean, default=False)


class MetadataRow(Base):
    """One key of any object that carries metadata: a share, a snapshot, a rule, a subnet, an export location."""

    __tablename__ = "share_metadata"
    __table_args__ = (Index("share_metadata_by_key", "key", "object_id"),)

    object_id: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(Name, primary_key=True)
    value: Mapped[str] = mapped_column(String(1023))


class RuleRow(Stamped, Base):
    """Who may mount a share. `access_key` is a back end's credential for the client (cephx)."""

    __tablename__ = "share_rules"
    __table_args__ = (Index("share_rules_by_share", "share_id", "created_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    share_id: Mapped[str] = mapped_column(ForeignKey("share_shares.id"))
    access_type: Mapped[str] = mapped_column(Word)
    access_to: Mapped[str] = mapped_column(Name)
    access_level: Mapped[str] = mapped_column(String(2))
    access_key: Mapped[str | None] = mapped_column(Name)


class RuleStateRow(Base):
    """How far a rule is applied on one instance."""

    __tablename__ = "share_rule_states"
    __table_args__ = (Index("share_rule_states_by_instance", "instance_id", "state"),)

    rule_id: Mapped[str] = mapped_column(ForeignKey("share_rules.id"), primary_key=True)
    instance_id: Mapped[str] = mapped_column(ForeignKey("share_instances.id"), primary_key=True)
    state: Mapped[str] = mapped_column(Word)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)
