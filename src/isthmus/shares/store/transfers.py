"""Shares on their way to another project: the keys, and what changes hands."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from isthmus.shares.model import RuleState, Status
from isthmus.shares.tables import (
    RuleStateRow,
    ShareRow,
    SnapshotInstanceRow,
    SnapshotRow,
    TransferRow,
)

KEY_BYTES = 16
SALT_BYTES = 8


@dataclass(frozen=True)
class Key:
    """A transfer's key, which its maker is told once, and what is kept of it."""

    key: str
    salt: str
    hash: str


def new_key() -> Key:
    """Return a random key."""
    key, salt = secrets.token_hex(KEY_BYTES), secrets.token_hex(SALT_BYTES)
    return Key(key, salt, _hash(key, salt))


def is_key(key: str, salt: str, kept: str) -> bool:
    """Say whether this is the key of which `kept` is the hash."""
    return hmac.compare_digest(_hash(key, salt), kept)


def _hash(key: str, salt: str) -> str:
    return hmac.new(salt.encode(), key.encode(), hashlib.sha256).hexdigest()


def end(session: Session, transfer_id: str) -> bool:
    """Remove a transfer; say whether it was still there."""
    gone = session.execute(
        delete(TransferRow).where(TransferRow.id == transfer_id).execution_options(synchronize_session=False)
    )
    return bool(gone.rowcount == 1)  # type: ignore[attr-defined] # a delete's result is a CursorResult


@dataclass(frozen=True)
class SnapshotsOf:
    """The snapshots that go with a share: how many, their sizes in GiB by owner, and one that is not whole."""

    owners: tuple[tuple[str, str, int], ...]
    unfit: str | None

    @property
    def count(self) -> int:
        """Return how many there are."""
        return len(self.owners)

    @property
    def gib(self) -> int:
        """Return their size together."""
        return sum(size for _, _, size in self.owners)


def snapshots_of(session: Session, share_id: str) -> SnapshotsOf:
    """Return the snapshots of a share; `unfit` names one whose status is not available."""
    found = session.execute(
        select(SnapshotRow.id, SnapshotRow.project_id, SnapshotRow.user_id, SnapshotRow.size)
        .add_columns(SnapshotInstanceRow.status)
        .join(SnapshotInstanceRow, SnapshotInstanceRow.snapshot_id == SnapshotRow.id)
        .where(SnapshotRow.share_id == share_id)
        .order_by(SnapshotRow.created_at)
    ).all()
    unfit = next((row.id for row in found if row.status != Status.AVAILABLE), None)
    return SnapshotsOf(tuple((row.project_id, row.user_id, row.size) for row in found), unfit)


def give(session: Session, share_id: str, *, project_id: str, user_id: str, now: datetime) -> None:
    """Make a share and its snapshots another project's."""
    owner = {"project_id": project_id, "user_id": user_id, "updated_at": now}
    session.execute(update(ShareRow).where(ShareRow.id == share_id).values(**owner))
    session.execute(update(SnapshotRow).where(SnapshotRow.share_id == share_id).values(**owner))
    session.execute(update(SnapshotInstanceRow).where(SnapshotInstanceRow.share_id == share_id).values(**owner))


def deny_all(session: Session, instance_id: str, now: datetime) -> bool:
    """Have all access rules of an instance taken away by the next job about them; say whether there are any."""
    changed = session.execute(
        update(RuleStateRow)
        .where(RuleStateRow.instance_id == instance_id)
        .values(state=RuleState.QUEUED_TO_DENY, updated_at=now)
        .execution_options(synchronize_session=False)
    )
    return bool(changed.rowcount)  # type: ignore[attr-defined] # an update's result is a CursorResult
