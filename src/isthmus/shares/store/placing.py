"""Choosing a pool for a share and taking its room, in one transaction with the share's row.

Who chooses first locks the rows of all pools, in the order of their names, until the transaction ends: so several
schedulers at once never promise the same room twice, a burst of shares is spread over equal pools, and none of them
waits for another in a circle. Who counts both a project's usage and a pool's room counts the usage first.
`placed_gib` is what the pool's report does not know of yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from oslo_config.cfg import ConfigOpts
from sqlalchemy import case, or_, select, update
from sqlalchemy.orm import Session

from isthmus.shares.messages import Detail
from isthmus.shares.scheduling import extra_specs
from isthmus.shares.scheduling.choosing import NO_POOLS, Choice, Rules, choose
from isthmus.shares.scheduling.facts import PoolState, Wanted
from isthmus.shares.store import hints
from isthmus.shares.store.jobs import backend_of
from isthmus.shares.tables import (
    InstanceRow,
    PoolRow,
    ServiceRow,
    ShareRow,
    SnapshotInstanceRow,
    TypeSpecRow,
)


@dataclass(frozen=True)
class PlacementRequest:
    """A share to be placed. `fixed_host` is the pool it must lie in (its group's, its snapshot's): nothing is asked.

    `extra_specs` are the share type's own. `same_shares` and `different_shares` are ids; `same_shares` None means
    that no affinity was asked for. `availability_zones` empty means any. `active_host` and `replica_hosts` are those of
    the replicas that a new one joins.
    """

    share_id: str
    project_id: str
    size_gib: int
    protocol: str
    extra_specs: Mapping[str, str]
    share: Mapping[str, Any]
    availability_zone: str | None = None
    availability_zones: tuple[str, ...] = ()
    fixed_host: str | None = None
    only_host: str | None = None
    same_shares: tuple[str, ...] | None = None
    different_shares: tuple[str, ...] = ()
    query: str | None = None
    snapshot_host: str | None = None
    active_host: str | None = None
    replica_hosts: tuple[str, ...] = ()
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where a share shall lie, or (`host` None) which filter left no pool, as a message's detail and in words."""

    host: str | None
    availability_zone: str | None = None
    emptied_by: str | None = None

    @property
    def had_no_pools(self) -> bool:
        """Say whether there was no pool to choose from."""
        return self.emptied_by == NO_POOLS

    @property
    def detail(self) -> Detail:
        """Return the code of the user message about a share that was not placed."""
        return _DETAILS.get(self.emptied_by or "", Detail.NO_VALID_HOST)

    @property
    def reason(self) -> str:
        """Return a sentence for the user message about a share that was not placed."""
        if self.had_no_pools:
            return "No back end reports a pool that is up and enabled."
        return f"No pool passed {self.emptied_by}."


_DETAILS = {
    NO_POOLS: Detail.SHARE_BACKEND_NOT_READY_YET,
    "AvailabilityZoneFilter": Detail.FILTER_AVAILABILITY,
    "CapabilitiesFilter": Detail.FILTER_CAPABILITIES,
    "CapacityFilter": Detail.FILTER_CAPACITY,
    "DriverFilter": Detail.FILTER_DRIVER,
    "ShareReplicationFilter": Detail.FILTER_REPLICATION,
    "IgnoreAttemptedHostsFilter": Detail.FILTER_IGNORE,
    "JsonFilter": Detail.FILTER_JSON,
    "RetryFilter": Detail.FILTER_RETRY,
    "CreateFromSnapshotFilter": Detail.FILTER_CREATE_FROM_SNAPSHOT,
}


def place(session: Session, conf: ConfigOpts, request: PlacementRequest, now: datetime) -> Placement:
    """Choose a pool and take the room in it."""
    if request.fixed_host is not None:
        take_room(session, request.fixed_host, request.size_gib)
        return Placement(request.fixed_host, _zone_of(session, request.fixed_host))
    _lock_pools(session)
    pools = pools_now(session, conf, now, disabled_too=request.only_host is not None)
    choice = choose(pools, _wanted(session, request, pools), _rules(conf))
    if choice.pool is None:
        return Placement(None, emptied_by=choice.emptied_by)
    take_room(session, choice.pool.host, request.size_gib)
    return Placement(choice.pool.host, choice.pool.availability_zone)


def room_for_growth(
    session: Session, conf: ConfigOpts, *, host: str, grown_gib: int, specs: Mapping[str, str], now: datetime
) -> Choice:
    """Take the room that a share grows by in its own pool, if the filters let it; the choice is empty if not."""
    _lock_pools(session, host)
    wanted = Wanted(grown_gib, extra_specs=specs, only_host=host, is_extension=True)
    rules = Rules(["OnlyHostFilter", "CapacityFilter"], (), {})
    choice = choose(pools_now(session, conf, now, disabled_too=True), wanted, rules)
    if choice.pool is not None:
        take_room(session, host, grown_gib)
    return choice


def fits(
    session: Session, conf: ConfigOpts, *, host: str, specs: Mapping[str, str], protocol: str, now: datetime
) -> bool:
    """Say whether a pool is there and has what a share type asks for, for a share that is in it already."""
    wanted = Wanted(0, extra_specs=extra_specs.compared(specs, protocol), only_host=host)
    rules = Rules(["OnlyHostFilter", "CapabilitiesFilter"], (), {})
    return choose(pools_now(session, conf, now, disabled_too=True), wanted, rules).pool is not None


def take_room(session: Session, host: str, gib: int) -> None:
    """Count room in a pool without asking whether it has it: the share is there, or must be."""
    _count(session, host, placed=PoolRow.placed_gib + gib, promised=PoolRow.promised_gib + gib)


def give_room_back(session: Session, host: str | None, gib: int) -> None:
    """Count room in a pool no longer, never below nothing. Without a host, or for an unknown one, nothing happens."""
    if not host or gib <= 0:
        return
    _count(
        session,
        host,
        placed=case((PoolRow.placed_gib > gib, PoolRow.placed_gib - gib), else_=0),
        promised=case((PoolRow.promised_gib > gib, PoolRow.promised_gib - gib), else_=0),
    )


def request_for(
    session: Session, instance_id: str, *, tried: tuple[str, ...], zone: str | None = None
) -> PlacementRequest:
    """Return the request of a share that is being created, from its rows: to place it again after a pool failed it.

    `zone` is the one that was asked for, if one was. The hints `only_host` and `query` are not kept: such a share is
    bound to its pool.
    """
    share, instance = session.execute(
        select(ShareRow, InstanceRow)
        .join(InstanceRow, InstanceRow.share_id == ShareRow.id)
        .where(InstanceRow.id == instance_id)
    ).one()
    specs = dict(
        session.execute(
            select(TypeSpecRow.key, TypeSpecRow.value).where(TypeSpecRow.type_id == instance.share_type_id)
        ).all()
    )
    same = hints.of(session, share.id, hints.SAME_HOST)
    zones = specs.get("availability_zones", "")
    return PlacementRequest(
        share_id=share.id,
        project_id=share.project_id,
        size_gib=share.size,
        protocol=share.protocol,
        extra_specs=specs,
        share=share_facts(share.id, share.size, share.protocol, share.project_id),
        availability_zone=zone,
        availability_zones=tuple(each for each in zones.split(",") if each),
        same_shares=same or None,
        different_shares=hints.of(session, share.id, hints.DIFFERENT_HOST),
        snapshot_host=_snapshot_host(session, share.snapshot_id),
        tried=tried,
    )


def share_facts(share_id: str, size_gib: int, protocol: str, project_id: str) -> dict[str, Any]:
    """Return what a driver's filter and goodness functions see as `share.…`."""
    return {"id": share_id, "size": size_gib, "share_proto": protocol, "project_id": project_id}


def pools_now(session: Session, conf: ConfigOpts, now: datetime, *, disabled_too: bool = False) -> list[PoolState]:
    """Return the pools of managers that are up and whose storage answers; of disabled ones only if asked for."""
    alive = now - timedelta(seconds=conf.shares.service_down_time)
    wanted = [ServiceRow.heartbeat_at >= alive, ServiceRow.answers.is_(True)]
    if not disabled_too:
        wanted.append(ServiceRow.disabled.is_(False))
    rows = session.execute(
        select(
            PoolRow.host,
            PoolRow.total_gib,
            PoolRow.free_gib,
            PoolRow.placed_gib,
            PoolRow.promised_gib,
            PoolRow.capabilities,
            ServiceRow.availability_zone,
        )
        .join(ServiceRow, ServiceRow.host == PoolRow.backend)
        .where(*wanted)
        .order_by(PoolRow.host)
    )
    return [
        PoolState(
            host=row.host,
            availability_zone=row.availability_zone,
            total_gib=_endless(row.total_gib),
            free_gib=_left(row.free_gib, row.placed_gib),
            provisioned_gib=row.promised_gib,
            capabilities=row.capabilities,
        )
        for row in rows
    ]


def _rules(conf: ConfigOpts) -> Rules:
    options = conf.shares
    return Rules(
        options.scheduler_filters,
        options.scheduler_weighers,
        {"CapacityWeigher": options.capacity_weight_multiplier, "PoolWeigher": options.pool_weight_multiplier},
    )


def _wanted(session: Session, request: PlacementRequest, pools: list[PoolState]) -> Wanted:
    same = request.same_shares
    copied = request.active_host or request.snapshot_host
    return Wanted(
        size_gib=request.size_gib,
        extra_specs=extra_specs.compared(request.extra_specs, request.protocol, any_backend=copied is not None),
        share=request.share,
        availability_zone=request.availability_zone,
        availability_zones=request.availability_zones,
        only_host=request.only_host,
        same_hosts=None if same is None else frozenset.intersection(*hints.hosts_of(session, same)),
        different_hosts=frozenset().union(*hints.hosts_of(session, request.different_shares)),
        query=request.query,
        tried=request.tried,
        snapshot_host=request.snapshot_host,
        replica_hosts=frozenset(request.replica_hosts),
        replication_domain=_domain_of(copied, pools),
    )


def _domain_of(host: str | None, pools: list[PoolState]) -> str | None:
    found = next((pool for pool in pools if pool.host == host), None)
    domain = found.capabilities.get("replication_domain") if found is not None else None
    return None if domain is None else str(domain)


def _lock_pools(session: Session, host: str | None = None) -> None:
    rows = select(PoolRow.host).order_by(PoolRow.host).with_for_update()
    session.execute(rows if host is None else rows.where(PoolRow.host == host)).all()


def _count(session: Session, host: str, *, placed: Any, promised: Any) -> None:
    session.execute(
        update(PoolRow)
        .where(PoolRow.host == host)
        .values(placed_gib=placed, promised_gib=promised)
        .execution_options(synchronize_session=False)
    )


def _endless(gib: float | None) -> float | None:
    return float("inf") if gib == -1 else gib


def _left(free: float | None, placed: int) -> float | None:
    known = _endless(free)
    return None if known is None else known - placed


def _zone_of(session: Session, host: str) -> str | None:
    return session.scalar(select(ServiceRow.availability_zone).where(ServiceRow.host == backend_of(host)))


def _snapshot_host(session: Session, snapshot_id: str | None) -> str | None:
    if snapshot_id is None:
        return None
    return session.scalar(
        select(InstanceRow.host)
        .join(SnapshotInstanceRow, SnapshotInstanceRow.instance_id == InstanceRow.id)
        .where(or_(SnapshotInstanceRow.snapshot_id == snapshot_id, SnapshotInstanceRow.id == snapshot_id))
        .limit(1)
    )
