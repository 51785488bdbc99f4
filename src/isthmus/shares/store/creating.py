"""Writing a new share: its rows, its room in a pool, and the job that has it made; all in the call's transaction."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from oslo_config.cfg import ConfigOpts
from sqlalchemy import insert
from sqlalchemy.orm import Session

from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, RulesStatus, Status
from isthmus.shares.store import hints, jobs, messages, metadata, placing, replicas
from isthmus.shares.store.placing import Placement, PlacementRequest
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.tables import InstanceRow, ShareRow


@dataclass(frozen=True)
class Hints:
    """Where the share shall lie, and where not; ids of shares, a pool's host, a JSON query."""

    same_host: tuple[str, ...] = ()
    different_host: tuple[str, ...] = ()
    only_host: str | None = None
    query: str | None = None


@dataclass(frozen=True)
class NewShare:
    """A share that is asked for and may be made: all has been checked.

    `fixed_host` is the pool it must lie in, `snapshot_host` that of the snapshot it is made from. `zones` are those
    it may lie in where it asks for none; empty is any.
    """

    project_id: str
    user_id: str
    size_gib: int
    protocol: str
    share_type: ShareType | None
    name: str | None = None
    description: str | None = None
    is_public: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    availability_zone: str | None = None
    zones: tuple[str, ...] = ()
    snapshot_id: str | None = None
    snapshot_host: str | None = None
    share_group_id: str | None = None
    share_network_id: str | None = None
    fixed_host: str | None = None
    mount_point_name: str | None = None
    encryption_key_ref: str | None = None
    group_snapshot_member_id: str | None = None
    hints: Hints = Hints()

    @property
    def replication_type(self) -> str | None:
        """Return how the share may be replicated, if it may."""
        return None if self.share_type is None else self.share_type.specs.get("replication_type")


@dataclass(frozen=True)
class _Writing:
    """One share being written."""

    session: Session
    new: NewShare
    share_id: str
    instance_id: str
    now: datetime
    request_id: str


def create(session: Session, conf: ConfigOpts, new: NewShare, now: datetime, request_id: str) -> str:
    """Write the share and place it; return its id.

    A share that finds no pool is there in status `error`, with a user message that says why.
    """
    writing = _Writing(session, new, str(uuid.uuid4()), str(uuid.uuid4()), now, request_id)
    _write_share(writing)
    for key, others in ((hints.SAME_HOST, new.hints.same_host), (hints.DIFFERENT_HOST, new.hints.different_host)):
        if others:
            hints.keep(session, writing.share_id, key, others)
    trouble = _cannot_be_placed(new)
    placed = Placement(None) if trouble else placing.place(session, conf, _request(new, writing.share_id), now)
    _write_instance(writing, placed)
    if placed.host is None:
        _say_why(writing, placed, trouble)
    else:
        _have_it_made(writing, placed.host)
    return writing.share_id


def features(share_type: ShareType | None) -> dict[str, object]:
    """Return what a share may do later, from its type: changes of the type do not change the share."""
    if share_type is None:
        return {}
    return {
        **{name: share_type.says(name) for name in _FEATURES},
        "replication_type": share_type.specs.get("replication_type"),
    }


_FEATURES = (
    "snapshot_support",
    "create_share_from_snapshot_support",
    "revert_to_snapshot_support",
    "mount_snapshot_support",
    "snapshot_inherit_share_access_support",
)


def _write_share(writing: _Writing) -> None:
    new = writing.new
    writing.session.execute(
        insert(ShareRow).values(
            id=writing.share_id,
            project_id=new.project_id,
            user_id=new.user_id,
            name=new.name,
            description=new.description,
            size=new.size_gib,
            protocol=new.protocol,
            is_public=new.is_public,
            snapshot_id=new.snapshot_id,
            share_group_id=new.share_group_id,
            source_share_group_snapshot_member_id=new.group_snapshot_member_id,
            created_at=writing.now,
            **features(new.share_type),
        )
    )
    if new.metadata:
        metadata.write(writing.session, writing.share_id, new.metadata)


def _write_instance(writing: _Writing, placed: Placement) -> None:
    new = writing.new
    writing.session.execute(
        insert(InstanceRow).values(
            id=writing.instance_id,
            share_id=writing.share_id,
            host=placed.host or "",
            status=Status.ERROR if placed.host is None else Status.CREATING,
            access_rules_status=RulesStatus.ACTIVE,
            replica_state=replicas.first_state(new.replication_type),
            availability_zone=placed.availability_zone or new.availability_zone,
            share_type_id=None if new.share_type is None else new.share_type.id,
            share_network_id=new.share_network_id,
            mount_point_name=new.mount_point_name,
            encryption_key_ref=new.encryption_key_ref,
            scheduled_at=writing.now,
            created_at=writing.now,
        )
    )


def _have_it_made(writing: _Writing, host: str) -> None:
    new = writing.new
    # A share bound to its pool is not tried elsewhere when that fails.
    bound = any((new.fixed_host, new.hints.only_host, new.hints.query))
    jobs.enqueue(
        writing.session,
        host=host,
        kind=Kind.CREATE_SHARE,
        subject=writing.share_id,
        argument={"instance_id": writing.instance_id, "bound": bound, "zone": new.availability_zone},
        project_id=new.project_id,
        request_id=writing.request_id,
        now=writing.now,
    )


def _say_why(writing: _Writing, placed: Placement, trouble: Detail | None) -> None:
    nowhere = trouble is not None or placed.had_no_pools
    messages.say(
        writing.session,
        project_id=writing.new.project_id,
        action=Action.CREATE if nowhere else Action.ALLOCATE_HOST,
        detail=trouble or placed.detail,
        resource_id=writing.share_id,
        request_id=writing.request_id,
        text=None if trouble else placed.reason,
        now=writing.now,
    )


def _cannot_be_placed(new: NewShare) -> Detail | None:
    if new.share_type is None:
        return Detail.NO_DEFAULT_SHARE_TYPE
    if new.share_network_id and not new.share_type.says("driver_handles_share_servers"):
        return Detail.UNEXPECTED_NETWORK
    return None


def _request(new: NewShare, share_id: str) -> PlacementRequest:
    return PlacementRequest(
        share_id=share_id,
        project_id=new.project_id,
        size_gib=new.size_gib,
        protocol=new.protocol,
        extra_specs={} if new.share_type is None else new.share_type.specs,
        share=placing.share_facts(share_id, new.size_gib, new.protocol, new.project_id),
        availability_zone=new.availability_zone,
        availability_zones=new.zones,
        fixed_host=new.fixed_host,
        only_host=new.hints.only_host,
        same_shares=new.hints.same_host or None,
        different_shares=new.hints.different_host,
        query=new.hints.query,
        snapshot_host=new.snapshot_host,
    )
