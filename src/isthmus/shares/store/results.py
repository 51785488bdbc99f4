"""What became of a share instance, written in the transaction that ends its job."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select, update
from sqlalchemy.orm import Session

from isthmus.shares.drivers.facts import ExportLocation
from isthmus.shares.store import metadata, replicas, snapshots, usage
from isthmus.shares.tables import (
    ExportRow,
    InstanceRow,
    LockRow,
    MetadataRow,
    PrivateRow,
    RuleRow,
    RuleStateRow,
    ShareRow,
    SnapshotInstanceRow,
    TransferRow,
)

PREFERRED = "preferred"
"""The key of an export location's metadata by which an administrator says whether it is preferred."""


def keep_exports(session: Session, instance_id: str, exports: Sequence[ExportLocation], now: datetime) -> None:
    """Make these the export locations of an instance; those that were there keep their ids and metadata.

    What an administrator prefers (by the metadata of that name) stays so, whatever the driver says.
    """
    rows = session.scalars(select(ExportRow).where(ExportRow.instance_id == instance_id)).all()
    known = {row.path: row.id for row in rows}
    _drop_exports(session, [identity for path, identity in known.items() if path not in {e.path for e in exports}])
    for position, export in enumerate(exports):
        facts = {"position": position, "is_admin_only": export.admin_only, "preferred": export.preferred}
        identity = known.get(export.path)
        if identity is not None:
            if PREFERRED in metadata.read(session, identity):
                del facts["preferred"]
            session.execute(update(ExportRow).where(ExportRow.id == identity).values(updated_at=now, **facts))
            continue
        identity = str(uuid.uuid4())
        session.execute(
            insert(ExportRow).values(
                id=identity, instance_id=instance_id, path=export.path, created_at=now, updated_at=now, **facts
            )
        )
        for key, value in export.metadata.items():
            session.execute(insert(MetadataRow).values(object_id=identity, key=key, value=value))


def keep_metadata(session: Session, share_id: str, told: Mapping[str, str]) -> None:
    """Add what a driver tells a share's users; keys that they have set themselves stay as they are."""
    if not told:
        return
    known = metadata.read(session, share_id)
    metadata.write(session, share_id, {key: value for key, value in told.items() if key not in known})


def keep_private(session: Session, entity_id: str, private: Mapping[str, str]) -> None:
    """Keep what a driver asked to be kept with an object, instead of what it asked before."""
    if not private:
        return
    session.execute(delete(PrivateRow).where(PrivateRow.entity_id == entity_id, PrivateRow.key.in_(list(private))))
    session.execute(
        insert(PrivateRow), [{"entity_id": entity_id, "key": key, "value": value} for key, value in private.items()]
    )


def forget_private(session: Session, entity_id: str) -> None:
    """Remove what a driver kept with an object that is deleted.

    For one that is only given up it stays: by it the driver may know the object when it is taken back.
    """
    session.execute(delete(PrivateRow).where(PrivateRow.entity_id == entity_id))


def forget_share(session: Session, instance_id: str) -> None:
    """Remove an instance with its snapshots and, with its last one, the share; give back what it counted for.

    What its driver kept with it stays, see `forget_private`.
    """
    found = session.execute(
        select(InstanceRow.share_id, InstanceRow.share_type_id, InstanceRow.encryption_key_ref).where(
            InstanceRow.id == instance_id
        )
    ).first()
    if found is None:
        return
    _forget_snapshots(session, instance_id)
    _give_replica_back(session, found.share_id, found.share_type_id)
    exports = session.scalars(select(ExportRow.id).where(ExportRow.instance_id == instance_id)).all()
    _drop_exports(session, list(exports))
    session.execute(delete(RuleStateRow).where(RuleStateRow.instance_id == instance_id))
    session.execute(delete(InstanceRow).where(InstanceRow.id == instance_id))
    others = session.scalar(select(InstanceRow.id).where(InstanceRow.share_id == found.share_id).limit(1))
    if others is None:
        _forget_whole(session, found.share_id, found.share_type_id, found.encryption_key_ref)
    else:
        replicas.choose_primary(session, found.share_id)


def forget_replica(session: Session, instance_id: str) -> None:
    """Remove a replica with its instances of snapshots and its metadata; give back what it counted for."""
    metadata.drop(session, instance_id)
    forget_private(session, instance_id)
    forget_share(session, instance_id)


def _forget_snapshots(session: Session, instance_id: str) -> None:
    """Forget the instances of snapshots that lay with an instance, which an administrator may have had deleted."""
    taken = select(SnapshotInstanceRow.id).where(SnapshotInstanceRow.instance_id == instance_id)
    for identity in session.scalars(taken).all():
        forget_private(session, identity)
        snapshots.forget(session, identity)


def _give_replica_back(session: Session, share_id: str, share_type_id: str | None) -> None:
    share = session.get_one(ShareRow, share_id, populate_existing=True)
    counted = replicas.deltas(share.replication_type if share.size else None, share.size)
    if counted:
        usage.give_back(session, usage.Owner(share.project_id, share.user_id, share_type_id), counted)


def _forget_whole(session: Session, share_id: str, share_type_id: str | None, key_ref: str | None) -> None:
    share = session.execute(
        select(ShareRow.project_id, ShareRow.user_id, ShareRow.size).where(ShareRow.id == share_id)
    ).one()
    rules = list(session.scalars(select(RuleRow.id).where(RuleRow.share_id == share_id)))
    session.execute(delete(MetadataRow).where(MetadataRow.object_id.in_([share_id, *rules])))
    session.execute(delete(LockRow).where(LockRow.resource_id.in_([share_id, *rules])))
    session.execute(delete(RuleRow).where(RuleRow.share_id == share_id))
    session.execute(delete(TransferRow).where(TransferRow.resource_id == share_id))
    session.execute(delete(ShareRow).where(ShareRow.id == share_id))
    # A share that could not be taken under management has no size, and was never counted.
    if share.size:
        owner = usage.Owner(share.project_id, share.user_id, share_type_id)
        freed = {"shares": 1, "gigabytes": share.size}
        if key_ref is not None and not key_is_used(session, share.project_id, key_ref):
            freed["encryption_keys"] = 1
        usage.give_back(session, owner, freed)


def key_is_used(session: Session, project_id: str, key_ref: str) -> bool:
    """Say whether a share of the project is encrypted with this key: it counts once for all of them."""
    used = (
        select(InstanceRow.id)
        .join(ShareRow, ShareRow.id == InstanceRow.share_id)
        .where(ShareRow.project_id == project_id, InstanceRow.encryption_key_ref == key_ref)
    )
    return session.scalar(used.limit(1)) is not None


def _drop_exports(session: Session, identities: list[str]) -> None:
    if identities:
        session.execute(delete(MetadataRow).where(MetadataRow.object_id.in_(identities)))
        session.execute(delete(ExportRow).where(ExportRow.id.in_(identities)))
