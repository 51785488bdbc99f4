"""Scheduler hints of shares: who shall, or shall not, lie where. They are kept as metadata of both shares.

Source: Manila's keys, so that a client that reads the metadata finds what it knows.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.control.errors import InvalidInput
from isthmus.shares.store import metadata
from isthmus.shares.tables import InstanceRow, ShareRow

SAME_HOST = "__affinity_same_host"
DIFFERENT_HOST = "__affinity_different_host"
LONGEST_VALUE = 1023
"""Characters of a value of metadata."""


def hosts_of(session: Session, shares: Sequence[str]) -> list[frozenset[str]]:
    """Return the hosts of each of these shares."""
    found: dict[str, set[str]] = {share: set() for share in shares}
    if shares:
        rows = session.execute(select(InstanceRow.share_id, InstanceRow.host).where(InstanceRow.share_id.in_(shares)))
        for share_id, host in rows:
            if host:
                found[share_id].add(host)
    return [frozenset(hosts) for hosts in found.values()]


def keep(session: Session, share_id: str, key: str, others: Sequence[str]) -> None:
    """Write a hint to the share, and to those of its project that it names: another project's public share stays.

    Raises `InvalidInput` if a named share is in so many hints that no more have room in its metadata.
    """
    project = select(ShareRow.project_id).where(ShareRow.id == share_id).scalar_subquery()
    own = select(ShareRow.id).where(ShareRow.id.in_(others), ShareRow.project_id == project)
    for other in session.scalars(own).all():
        _add(session, other, key, [share_id])
    _add(session, share_id, key, others)


def forget(session: Session, share_id: str) -> None:
    """Take a share out of the hints of those that it names, and its own hints away."""
    for key in (SAME_HOST, DIFFERENT_HOST):
        for other in _named(session, share_id, key):
            _write(session, other, key, [each for each in _named(session, other, key) if each != share_id])
    metadata.drop(session, share_id, [SAME_HOST, DIFFERENT_HOST])


def of(session: Session, share_id: str, key: str) -> tuple[str, ...]:
    """Return the shares that a share's hint names."""
    return tuple(_named(session, share_id, key))


def _add(session: Session, share_id: str, key: str, added: Iterable[str]) -> None:
    known = _named(session, share_id, key)
    named = [*known, *(each for each in added if each not in known)]
    if len(",".join(named)) > LONGEST_VALUE:
        raise InvalidInput(
            f"Share {share_id} is named in the scheduler hints of {len(known)} shares, and no more have room; name "
            "another share."
        )
    _write(session, share_id, key, named)


def _named(session: Session, share_id: str, key: str) -> list[str]:
    return [each for each in metadata.read(session, share_id).get(key, "").split(",") if each]


def _write(session: Session, share_id: str, key: str, named: list[str]) -> None:
    if named:
        metadata.write(session, share_id, {key: ",".join(named)})
    else:
        metadata.drop(session, share_id, [key])
