"""Quotas and what counts against them.

A usage row is changed by one guarded update in the transaction that makes or removes the object, so counts are exact
whatever happens at once. Columns and resources have Manila's names.
"""

from sqlalchemy import Integer
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.shares.tables.columns import Id, Keystone, Name, Word


class QuotaClassRow(Base):
    """One limit of a quota class; class `default` stands above the configuration's defaults. -1 is no limit."""

    __tablename__ = "share_quota_classes"

    class_name: Mapped[str] = mapped_column(Name, primary_key=True)
    resource: Mapped[str] = mapped_column(Word, primary_key=True)
    hard_limit: Mapped[int] = mapped_column(Integer)


class ProjectQuotaRow(Base):
    """One limit of a project."""

    __tablename__ = "share_project_quotas"

    project_id: Mapped[str] = mapped_column(Keystone, primary_key=True)
    resource: Mapped[str] = mapped_column(Word, primary_key=True)
    hard_limit: Mapped[int] = mapped_column(Integer)


class UserQuotaRow(Base):
    """One limit of a user in a project."""

    __tablename__ = "share_user_quotas"

    project_id: Mapped[str] = mapped_column(Keystone, primary_key=True)
    user_id: Mapped[str] = mapped_column(Keystone, primary_key=True)
    resource: Mapped[str] = mapped_column(Word, primary_key=True)
    hard_limit: Mapped[int] = mapped_column(Integer)


class TypeQuotaRow(Base):
    """One limit of a share type in a project."""

    __tablename__ = "share_type_quotas"

    project_id: Mapped[str] = mapped_column(Keystone, primary_key=True)
    share_type_id: Mapped[str] = mapped_column(Id, primary_key=True)
    resource: Mapped[str] = mapped_column(Word, primary_key=True)
    hard_limit: Mapped[int] = mapped_column(Integer)


class UsageRow(Base):
    """What is in use: of a project (user and type empty), of a user in it, or of a share type in it."""

    __tablename__ = "share_usages"

    project_id: Mapped[str] = mapped_column(Keystone, primary_key=True)
    user_id: Mapped[str] = mapped_column(Keystone, primary_key=True, default="")
    share_type_id: Mapped[str] = mapped_column(Id, primary_key=True, default="")
    shares: Mapped[int] = mapped_column(Integer, default=0)
    gigabytes: Mapped[int] = mapped_column(Integer, default=0)
    snapshots: Mapped[int] = mapped_column(Integer, default=0)
    snapshot_gigabytes: Mapped[int] = mapped_column(Integer, default=0)
    share_networks: Mapped[int] = mapped_column(Integer, default=0)
    share_groups: Mapped[int] = mapped_column(Integer, default=0)
    share_group_snapshots: Mapped[int] = mapped_column(Integer, default=0)
    share_replicas: Mapped[int] = mapped_column(Integer, default=0)
    replica_gigabytes: Mapped[int] = mapped_column(Integer, default=0)
    backups: Mapped[int] = mapped_column(Integer, default=0)
    backup_gigabytes: Mapped[int] = mapped_column(Integer, default=0)
    encryption_keys: Mapped[int] = mapped_column(Integer, default=0)
