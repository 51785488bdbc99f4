"""The tables of placement: workers as they were last heard of, the line of disk steps, and the places that they hold.

Times are UTC without a zone, sizes bytes, bandwidths bytes per second.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.migration.tables import Id, Moment


class WorkerRow(Base):
    """A worker by the identity that it keeps with its staging directory; see `planning.placement.Worker`.

    `leased`: the engine heard its last heartbeat in time. `running` are all steps and questions that it is at.
    """

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    host: Mapped[str] = mapped_column(String(255), index=True)
    process_id: Mapped[int] = mapped_column(Integer)
    regions: Mapped[list[str]] = mapped_column(JSON)
    platforms: Mapped[list[str]] = mapped_column(JSON)
    slots: Mapped[int] = mapped_column(Integer)
    running: Mapped[int] = mapped_column(Integer)
    staging_total: Mapped[int] = mapped_column(BigInteger)
    staging_free: Mapped[int] = mapped_column(BigInteger)
    link_bandwidth: Mapped[int] = mapped_column(BigInteger)
    copy_limit: Mapped[int] = mapped_column(BigInteger)
    leased: Mapped[bool] = mapped_column(Boolean)
    seen_at: Mapped[datetime] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)


class PlacementRow(Base):
    """A disk step that waits in line, or holds its place: then it has a `worker_id`. `number` is its place in the line.

    `wish` is a `planning.placement.Wish`; `waits_for` says why it waits.
    """

    __tablename__ = "placements"
    __table_args__ = (Index("placements_in_order", "number"),)

    step_id: Mapped[str] = mapped_column(Id, primary_key=True)
    execution_id: Mapped[str] = mapped_column(Id, index=True)
    number: Mapped[int] = mapped_column(BigInteger)
    wish: Mapped[dict[str, Any]] = mapped_column(JSON)
    worker_id: Mapped[str | None] = mapped_column(Id, index=True)
    bandwidth: Mapped[int] = mapped_column(BigInteger)
    waits_for: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    held_at: Mapped[datetime | None] = mapped_column(Moment)


class PlacementTurnRow(Base):
    """One row, changed first by whoever decides about places: decisions follow one another, and each gets a number."""

    __tablename__ = "placement_turns"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)
