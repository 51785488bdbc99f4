"""Share groups: making them, choosing where they lie, and forgetting them."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from oslo_config.cfg import ConfigOpts
from sqlalchemy import delete, insert, or_, select
from sqlalchemy.orm import Session

from isthmus.shares.model import Status
from isthmus.shares.scheduling import extra_specs
from isthmus.shares.scheduling.choosing import Rules, choose
from isthmus.shares.scheduling.facts import PoolState, Wanted
from isthmus.shares.scheduling.filters import FILTERS
from isthmus.shares.store import placing, usage
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.tables import (
    GroupRow,
    GroupShareTypeRow,
    GroupSnapshotRow,
    GroupTypeRow,
    GroupTypeShareTypeRow,
    ShareRow,
    TypeProjectRow,
    TypeSpecRow,
)

CONSISTENT = "consistent_snapshot_support"


@dataclass(frozen=True)
class GroupType:
    """A group type with its group specs and the ids of the share types that its groups may hold."""

    id: str
    specs: Mapping[str, str]
    share_type_ids: tuple[str, ...]


@dataclass(frozen=True)
class NewGroup:
    """A group that is asked for and may be made. `host` is None if no pool fits it."""

    project_id: str
    user_id: str
    name: str | None
    description: str | None
    group_type_id: str
    share_type_ids: Sequence[str]
    host: str | None
    availability_zone: str | None
    consistent_snapshot_support: str | None
    share_network_id: str | None = None
    source_snapshot_id: str | None = None


def group_type(session: Session, *, project_id: str | None, type_id: str = "", name: str = "") -> GroupType | None:
    """Return a group type by id or name if the project (None: an administrator) may use it."""
    wanted = select(GroupTypeRow.id).where(GroupTypeRow.id == type_id if type_id else GroupTypeRow.name == name)
    if project_id is not None:
        granted = select(TypeProjectRow.type_id).where(TypeProjectRow.project_id == project_id)
        wanted = wanted.where(or_(GroupTypeRow.is_public, GroupTypeRow.id.in_(granted)))
    found = session.scalar(wanted)
    if found is None:
        return None
    specs = session.execute(select(TypeSpecRow.key, TypeSpecRow.value).where(TypeSpecRow.type_id == found))
    held = session.scalars(
        select(GroupTypeShareTypeRow.share_type_id).where(GroupTypeShareTypeRow.group_type_id == found)
    )
    return GroupType(found, {row.key: row.value for row in specs}, tuple(held))


@dataclass(frozen=True)
class Place:
    """What is asked of the pool of a group: its types, and (if any is named) zones."""

    group_specs: Mapping[str, str]
    share_types: Sequence[ShareType]
    availability_zone: str | None
    zones: tuple[str, ...]


def choose_pool(session: Session, conf: ConfigOpts, place: Place, now: datetime) -> PoolState | None:
    """Return the best pool that every share type of a group fits into; None if there is none.

    No room is taken: a group has no size. The group spec `consistent_snapshot_support` must be what the pool reports.
    """
    options = conf.shares
    wished = place.group_specs.get(CONSISTENT)
    left = [
        pool
        for pool in placing.pools_now(session, conf, now)
        if wished is None or wished == pool.capabilities.get(f"sg_{CONSISTENT}")
    ]
    for share_type in place.share_types:
        wanted = Wanted(
            0,
            extra_specs=extra_specs.compared(share_type.specs, None),
            availability_zone=place.availability_zone,
            availability_zones=place.zones,
        )
        for name in options.scheduler_filters:
            passes = FILTERS.get(name)
            left = [pool for pool in left if passes is None or passes(pool, wanted)]
    multipliers = {
        "CapacityWeigher": options.capacity_weight_multiplier,
        "PoolWeigher": options.pool_weight_multiplier,
    }
    return choose(left, Wanted(0), Rules((), options.scheduler_weighers, multipliers)).pool


def make(session: Session, new: NewGroup, now: datetime) -> str:
    """Write a group, in status error if it has no host; return its id."""
    identity = str(uuid.uuid4())
    session.execute(
        insert(GroupRow).values(
            id=identity,
            project_id=new.project_id,
            user_id=new.user_id,
            name=new.name,
            description=new.description,
            status=Status.ERROR if new.host is None else Status.CREATING,
            host=new.host,
            availability_zone=new.availability_zone,
            share_group_type_id=new.group_type_id,
            share_network_id=new.share_network_id,
            source_share_group_snapshot_id=new.source_snapshot_id,
            consistent_snapshot_support=new.consistent_snapshot_support,
            created_at=now,
        )
    )
    held = [{"group_id": identity, "share_type_id": each} for each in new.share_type_ids]
    if held:
        session.execute(insert(GroupShareTypeRow), held)
    return identity


def has_shares(session: Session, group_id: str) -> bool:
    """Say whether a group has shares."""
    return session.scalar(select(ShareRow.id).where(ShareRow.share_group_id == group_id).limit(1)) is not None


def has_snapshots(session: Session, group_id: str) -> bool:
    """Say whether a group has snapshots."""
    found = select(GroupSnapshotRow.id).where(GroupSnapshotRow.share_group_id == group_id)
    return session.scalar(found.limit(1)) is not None


def share_types_of(session: Session, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the ids of the share types that groups may hold, by group, in one query."""
    found: dict[str, list[str]] = {identity: [] for identity in group_ids}
    if found:
        columns = select(GroupShareTypeRow.group_id, GroupShareTypeRow.share_type_id)
        for row in session.execute(columns.where(GroupShareTypeRow.group_id.in_(found))):
            found[row.group_id].append(row.share_type_id)
    return found


def forget(session: Session, group_id: str) -> None:
    """Remove a group without shares and snapshots; give back what it counted for."""
    row = session.execute(select(GroupRow.project_id, GroupRow.user_id).where(GroupRow.id == group_id)).first()
    if row is None:
        return
    session.execute(delete(GroupShareTypeRow).where(GroupShareTypeRow.group_id == group_id))
    session.execute(delete(GroupRow).where(GroupRow.id == group_id))
    usage.give_back(session, usage.Owner(row.project_id, row.user_id), {"share_groups": 1})
