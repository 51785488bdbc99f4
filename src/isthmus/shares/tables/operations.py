"""What keeps the service going: jobs for share managers, their reports, messages, locks, transfers."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Float, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.shares.tables.columns import Id, Keystone, LongText, Moment, Name, Stamped, Word


class JobRow(Base):
    """One thing that a back end's manager must do; written with the row it is about, removed with its result.

    `backend` is `machine@back end`. Jobs with the same `subject` (a share's, group's id) run one after another.
    A job whose lease has lapsed is taken by whoever comes next.
    """

    __tablename__ = "share_jobs"
    __table_args__ = (
        Index("share_jobs_due", "backend", "not_before", "id"),
        Index("share_jobs_by_subject", "subject", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    backend: Mapped[str] = mapped_column(Name)
    kind: Mapped[str] = mapped_column(Word)
    subject: Mapped[str] = mapped_column(Id)
    argument: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    project_id: Mapped[str | None] = mapped_column(Keystone)
    request_id: Mapped[str | None] = mapped_column(Word)
    created_at: Mapped[datetime] = mapped_column(Moment)
    not_before: Mapped[datetime] = mapped_column(Moment)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    lease_owner: Mapped[str | None] = mapped_column(Name)
    lease_until: Mapped[datetime | None] = mapped_column(Moment)


class ServiceRow(Stamped, Base):
    """A back end's manager as it last reported: `host` is `machine@back end`."""

    __tablename__ = "share_services"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    binary: Mapped[str] = mapped_column(Word, default="manila-share")
    host: Mapped[str] = mapped_column(Name, unique=True)
    availability_zone: Mapped[str] = mapped_column(Name)
    disabled: Mapped[bool] = mapped_column(Boolean, default=False)
    disabled_reason: Mapped[str | None] = mapped_column(Name)
    ensuring: Mapped[bool] = mapped_column(Boolean, default=False)
    heartbeat_at: Mapped[datetime | None] = mapped_column(Moment)
    answers: Mapped[bool] = mapped_column(Boolean, default=True)
    trouble: Mapped[str | None] = mapped_column(LongText)


class PoolRow(Base):
    """A pool as it was last reported, and what has been placed in it since. Sizes in GiB; None is unknown, -1 endless.

    `placed_gib` is what was placed after the report (or was not yet made at it); `shares` and `promised_gib` count
    all that lies in the pool. The scheduler locks the row.
    """

    __tablename__ = "share_pools"

    host: Mapped[str] = mapped_column(Name, primary_key=True)
    backend: Mapped[str] = mapped_column(Name, index=True)
    total_gib: Mapped[float | None] = mapped_column(Float)
    free_gib: Mapped[float | None] = mapped_column(Float)
    allocated_gib: Mapped[float | None] = mapped_column(Float)
    placed_gib: Mapped[int] = mapped_column(Integer, default=0)
    promised_gib: Mapped[int] = mapped_column(Integer, default=0)
    capabilities: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    reported_at: Mapped[datetime] = mapped_column(Moment)


class AvailabilityZoneRow(Stamped, Base):
    """An availability zone, known once a manager reported from it."""

    __tablename__ = "share_availability_zones"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)


class PrivateRow(Base):
    """What a driver asked to be kept with an object; never a secret."""

    __tablename__ = "share_driver_private"

    entity_id: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(Name, primary_key=True)
    value: Mapped[str] = mapped_column(String(1023))


class MessageRow(Base):
    """A user message: what went wrong with an object, in codes that the API spells out."""

    __tablename__ = "share_messages"
    __table_args__ = (Index("share_messages_by_project", "project_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Keystone)
    request_id: Mapped[str | None] = mapped_column(Word)
    resource_type: Mapped[str | None] = mapped_column(Word)
    resource_id: Mapped[str | None] = mapped_column(Id)
    action_id: Mapped[str] = mapped_column(String(10))
    detail_id: Mapped[str | None] = mapped_column(String(10))
    text: Mapped[str | None] = mapped_column(LongText)
    message_level: Mapped[str] = mapped_column(Word, default="ERROR")
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment)


class LockRow(Stamped, Base):
    """A resource lock: forbids an action on a share or an access rule."""

    __tablename__ = "share_locks"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Keystone, index=True)
    user_id: Mapped[str] = mapped_column(Keystone)
    lock_context: Mapped[str] = mapped_column(String(10))
    resource_id: Mapped[str] = mapped_column(Id, index=True)
    resource_type: Mapped[str] = mapped_column(Word)
    resource_action: Mapped[str] = mapped_column(Word)
    lock_reason: Mapped[str | None] = mapped_column(String(1023))


class TransferRow(Base):
    """A share on its way to another project. Of the key only a salted hash is kept."""

    __tablename__ = "share_transfers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    resource_type: Mapped[str] = mapped_column(Word)
    resource_id: Mapped[str] = mapped_column(ForeignKey("share_shares.id"), index=True)
    name: Mapped[str | None] = mapped_column(Name)
    salt: Mapped[str] = mapped_column(Name)
    key_hash: Mapped[str] = mapped_column(Name)
    source_project_id: Mapped[str] = mapped_column(Keystone, index=True)
    destination_project_id: Mapped[str | None] = mapped_column(Keystone)
    accepted: Mapped[bool] = mapped_column(Boolean, default=False)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
