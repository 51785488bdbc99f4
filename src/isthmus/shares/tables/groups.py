"""Share groups, their types and snapshots."""

from sqlalchemy import Boolean, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.shares.tables.columns import Id, Keystone, Name, Stamped, Word


class GroupTypeRow(Stamped, Base):
    """A kind of group that administrators offer."""

    __tablename__ = "share_group_types"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    is_public: Mapped[bool] = mapped_column(Boolean, default=True)


class GroupTypeShareTypeRow(Base):
    """A share type that groups of a type may hold."""

    __tablename__ = "share_group_type_share_types"

    group_type_id: Mapped[str] = mapped_column(ForeignKey("share_group_types.id"), primary_key=True)
    share_type_id: Mapped[str] = mapped_column(ForeignKey("share_types.id"), primary_key=True)


class GroupRow(Stamped, Base):
    """Shares that belong together; they lie in one pool or back end."""

    __tablename__ = "share_groups"
    __table_args__ = (Index("share_groups_by_project", "project_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Keystone)
    user_id: Mapped[str] = mapped_column(Keystone)
    name: Mapped[str | None] = mapped_column(Name)
    description: Mapped[str | None] = mapped_column(Name)
    status: Mapped[str] = mapped_column(Word)
    host: Mapped[str | None] = mapped_column(Name)
    availability_zone: Mapped[str | None] = mapped_column(Name)
    share_group_type_id: Mapped[str | None] = mapped_column(ForeignKey("share_group_types.id"), index=True)
    share_network_id: Mapped[str | None] = mapped_column(Id)
    share_server_id: Mapped[str | None] = mapped_column(Id)
    source_share_group_snapshot_id: Mapped[str | None] = mapped_column(Id)
    consistent_snapshot_support: Mapped[str | None] = mapped_column(Word)


class GroupShareTypeRow(Base):
    """A share type that a group may hold."""

    __tablename__ = "share_group_share_types"

    group_id: Mapped[str] = mapped_column(ForeignKey("share_groups.id"), primary_key=True)
    share_type_id: Mapped[str] = mapped_column(ForeignKey("share_types.id"), primary_key=True)


class GroupSnapshotRow(Stamped, Base):
    """A moment of all shares of a group; its members are snapshot instances."""

    __tablename__ = "share_group_snapshots"
    __table_args__ = (Index("share_group_snapshots_by_project", "project_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    share_group_id: Mapped[str] = mapped_column(ForeignKey("share_groups.id"), index=True)
    project_id: Mapped[str] = mapped_column(Keystone)
    user_id: Mapped[str] = mapped_column(Keystone)
    name: Mapped[str | None] = mapped_column(Name)
    description: Mapped[str | None] = mapped_column(Name)
    status: Mapped[str] = mapped_column(Word)
