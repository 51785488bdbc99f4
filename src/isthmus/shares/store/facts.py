"""What drivers are told, read from the tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from isthmus.control.errors import NotFound
from isthmus.shares.drivers.facts import ExportLocation, ReplicaSnapshot, ShareFacts, SnapshotFacts
from isthmus.shares.model import Status
from isthmus.shares.store.jobs import backend_of
from isthmus.shares.tables import (
    ExportRow,
    InstanceRow,
    MetadataRow,
    PrivateRow,
    ShareRow,
    SnapshotExportRow,
    SnapshotInstanceRow,
    TypeSpecRow,
)

MOST_REPLICAS = 1000
"""More than anybody has of one share."""
AVAILABLE = Status.AVAILABLE


def share(session: Session, instance_id: str) -> ShareFacts | None:
    """Return the facts of a share instance; None if it is gone."""
    found = _shares(session, InstanceRow.id == instance_id)
    return found[0] if found else None


def shares_of_backend(
    session: Session, backend: str, statuses: Sequence[str], after: str, most: int
) -> list[ShareFacts]:
    """Return a batch of a back end's share instances in these statuses, by instance id after `after`."""
    return _shares(
        session,
        InstanceRow.host.startswith(f"{backend}#", autoescape=True),
        InstanceRow.status.in_(statuses),
        InstanceRow.id > after,
        most=most,
    )


def replicas(session: Session, share_id: str) -> list[ShareFacts]:
    """Return the facts of all replicas of a share."""
    return _shares(
        session, InstanceRow.share_id == share_id, InstanceRow.replica_state.is_not(None), most=MOST_REPLICAS
    )


def snapshots(session: Session, *wanted: ColumnElement[bool]) -> list[SnapshotFacts]:
    """Return the facts of snapshot instances that meet these conditions on `SnapshotInstanceRow`, oldest first."""
    ids = select(SnapshotInstanceRow.id).where(*wanted).order_by(SnapshotInstanceRow.created_at, SnapshotInstanceRow.id)
    found = (snapshot(session, identity) for identity in session.scalars(ids).all())
    return [each for each in found if each is not None]


def replica_snapshots(session: Session, active: ShareFacts, replica: ShareFacts) -> list[ReplicaSnapshot]:
    """Return the snapshots that the active replica has, each with its instance with another replica."""
    of_share = SnapshotInstanceRow.share_id == replica.share_id
    found = snapshots(session, of_share, SnapshotInstanceRow.snapshot_id.is_not(None))
    own = {each.snapshot_id: each for each in found if each.share.instance_id == replica.instance_id}
    return [
        ReplicaSnapshot(each, own[each.snapshot_id])
        for each in found
        if each.share.instance_id == active.instance_id and each.status == AVAILABLE and each.snapshot_id in own
    ]


def snapshot(session: Session, snapshot_instance_id: str) -> SnapshotFacts | None:
    """Return the facts of a snapshot instance and its share's instance; None if either is gone."""
    row = session.get(SnapshotInstanceRow, snapshot_instance_id, populate_existing=True)
    parent = share(session, row.instance_id) if row is not None else None
    if row is None or parent is None:
        return None
    exports = session.scalars(
        select(SnapshotExportRow)
        .where(SnapshotExportRow.snapshot_instance_id == row.id)
        .order_by(SnapshotExportRow.created_at, SnapshotExportRow.id)
    )
    return SnapshotFacts(
        instance_id=row.id,
        snapshot_id=row.snapshot_id or row.id,
        share=parent,
        size_gib=row.size,
        provider_location=row.provider_location,
        exports=tuple(ExportLocation(each.path, admin_only=each.is_admin_only) for each in exports),
        private=_keyed(session, PrivateRow.entity_id, [row.id]).get(row.id, {}),
        group_snapshot_id=row.group_snapshot_id,
        status=row.status,
    )


def source_of(session: Session, share: ShareFacts) -> SnapshotFacts | None:
    """Return the snapshot that a share is to be made from; None if it starts empty. `NotFound` if it is gone.

    A member of a group's snapshot is a snapshot instance itself. Of several, one at the share's own back end is taken.
    """
    row = session.execute(
        select(ShareRow.snapshot_id, ShareRow.source_share_group_snapshot_member_id).where(
            ShareRow.id == share.share_id
        )
    ).one()
    if not row.source_share_group_snapshot_member_id and not row.snapshot_id:
        return None
    chosen = row.source_share_group_snapshot_member_id or _nearest(session, row.snapshot_id, share.host)
    found = snapshot(session, chosen) if chosen else None
    if found is None:
        # Made empty, it would look whole and hold nothing.
        raise NotFound(f"the snapshot that share {share.share_id} was to be made from is gone; make it from another")
    return found


def _nearest(session: Session, snapshot_id: str, host: str) -> str | None:
    found = session.execute(
        select(SnapshotInstanceRow.id, InstanceRow.host)
        .join(InstanceRow, InstanceRow.id == SnapshotInstanceRow.instance_id)
        .where(SnapshotInstanceRow.snapshot_id == snapshot_id)
        .order_by(SnapshotInstanceRow.created_at)
    ).all()
    backend = backend_of(host)
    near = [each.id for each in found if backend_of(each.host or "") == backend]
    return near[0] if near else (found[0].id if found else None)


def _shares(session: Session, *wanted: ColumnElement[bool], most: int = 1) -> list[ShareFacts]:
    rows = session.execute(
        select(InstanceRow, ShareRow)
        .join(ShareRow, ShareRow.id == InstanceRow.share_id)
        .where(*wanted)
        .order_by(InstanceRow.id)
        .limit(most)
        .execution_options(populate_existing=True)
    ).all()
    instances = [row.InstanceRow.id for row in rows]
    metadata = _keyed(session, MetadataRow.object_id, [row.ShareRow.id for row in rows])
    private = _keyed(session, PrivateRow.entity_id, instances)
    specs = _keyed(session, TypeSpecRow.type_id, [row.InstanceRow.share_type_id for row in rows])
    exports = _exports(session, instances)
    return [
        _facts(
            row.InstanceRow,
            row.ShareRow,
            metadata=metadata.get(row.ShareRow.id, {}),
            private=private.get(row.InstanceRow.id, {}),
            extra_specs=specs.get(row.InstanceRow.share_type_id, {}),
            exports=exports.get(row.InstanceRow.id, ()),
        )
        for row in rows
    ]


def _facts(
    instance: InstanceRow,
    row: ShareRow,
    *,
    metadata: Mapping[str, str],
    private: Mapping[str, str],
    extra_specs: Mapping[str, str],
    exports: tuple[ExportLocation, ...],
) -> ShareFacts:
    return ShareFacts(
        instance_id=instance.id,
        share_id=row.id,
        size_gib=row.size,
        protocol=row.protocol,
        host=instance.host or "",
        project_id=row.project_id,
        user_id=row.user_id,
        name=row.name,
        share_type_id=instance.share_type_id,
        extra_specs=extra_specs,
        metadata=metadata,
        exports=exports,
        private=private,
        mount_point_name=instance.mount_point_name,
        encryption_key_ref=instance.encryption_key_ref,
        share_group_id=row.share_group_id,
        share_network_id=instance.share_network_id,
        share_server_id=instance.share_server_id,
        status=instance.status,
        availability_zone=instance.availability_zone,
        replication_type=row.replication_type,
        replica_state=instance.replica_state,
        read_only=instance.cast_rules_to_readonly,
    )


def _exports(session: Session, instances: Sequence[str]) -> dict[str, tuple[ExportLocation, ...]]:
    rows = session.scalars(
        select(ExportRow).where(ExportRow.instance_id.in_(instances)).order_by(ExportRow.position)
    ).all()
    metadata = _keyed(session, MetadataRow.object_id, [row.id for row in rows])
    found: dict[str, tuple[ExportLocation, ...]] = {}
    for row in rows:
        export = ExportLocation(row.path, row.is_admin_only, row.preferred, metadata.get(row.id, {}))
        found[row.instance_id] = (*found.get(row.instance_id, ()), export)
    return found


def _keyed(session: Session, owner: Any, ids: Sequence[str | None]) -> dict[str, dict[str, str]]:
    """Return key-value rows of a table, by the object they belong to."""
    wanted = [each for each in ids if each]
    found: dict[str, dict[str, str]] = {}
    if wanted:
        table = owner.class_
        for identity, key, value in session.execute(select(owner, table.key, table.value).where(owner.in_(wanted))):
            found.setdefault(identity, {})[key] = value
    return found
