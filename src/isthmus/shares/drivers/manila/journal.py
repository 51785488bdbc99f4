"""What the adapter remembers of creations, so that they can be called again, which Manila's drivers do not promise.

A creation that was begun and never ended is cleared away before the next attempt; one that ended is answered from here.
"""

import json
from collections.abc import Mapping
from typing import Any

from isthmus.shares.drivers.facts import (
    Adopted,
    Creation,
    ExportLocation,
    Progress,
    ReplicaMade,
    RuleOutcome,
    SnapshotMade,
    SnapshotOutcome,
    SnapshotState,
)
from isthmus.shares.drivers.manila.private_storage import OURS
from isthmus.shares.drivers.private_data import PrivateData
from isthmus.shares.model import ReplicaState

_BEGUN = f"{OURS}begun"
_ANSWER = f"{OURS}answer."
_PIECE = 1000
"""Characters of an answer under one key: stores may hold no more than 1023, as Manila's."""


class Journal:
    """Entries by an object's id, kept beside the driver's own private data."""

    def __init__(self, store: PrivateData) -> None:
        self._store = store

    def answer(self, entity_id: str) -> Any:
        """Return the driver's answer about an object that is made, None if it is not known to be."""
        kept = self._store.read(entity_id)
        pieces = sorted(_pieces(kept), key=lambda key: int(key.removeprefix(_ANSWER)))
        return json.loads("".join(kept[key] for key in pieces)) if pieces else None

    def was_begun(self, entity_id: str) -> bool:
        """Return whether a creation began and is not known to have ended."""
        return _BEGUN in self._store.read(entity_id)

    def begin(self, entity_id: str) -> None:
        """Note that a creation begins."""
        self._store.write(entity_id, {_BEGUN: "1"})

    def end(self, entity_id: str, answer: Mapping[str, Any]) -> None:
        """Note what came of it."""
        text = json.dumps(answer)
        pieces = {f"{_ANSWER}{at // _PIECE}": text[at : at + _PIECE] for at in range(0, len(text), _PIECE)}
        kept = self._store.read(entity_id)
        self._store.write(entity_id, pieces)
        self._store.remove(entity_id, {_BEGUN, *_pieces(kept)} - pieces.keys())

    def forget(self, entity_id: str) -> None:
        """Remove what is known of the object. Nothing known: returns."""
        kept = self._store.read(entity_id)
        self._store.remove(entity_id, [_BEGUN, *_pieces(kept)])


def creation(answer: Any) -> Creation | None:
    """Return a creation as it was noted; None is passed on, here and below."""
    if answer is None:
        return None
    return Creation(**{**answer, "exports": _exports(answer), "progress": Progress(answer["progress"])})


def snapshot_made(answer: Any) -> SnapshotMade | None:
    """Return a snapshot as it was noted."""
    return None if answer is None else SnapshotMade(**{**answer, "exports": _exports(answer)})


def adopted(answer: Any) -> Adopted | None:
    """Return what was adopted as it was noted."""
    return None if answer is None else Adopted(**{**answer, "exports": _exports(answer)})


def members_made(answer: Any) -> dict[str, SnapshotMade] | None:
    """Return the members of a group snapshot as they were noted, by snapshot instance id."""
    if answer is None:
        return None
    return {identity: SnapshotMade(**{**each, "exports": _exports(each)}) for identity, each in answer.items()}


def replica_made(answer: Any) -> ReplicaMade | None:
    """Return a replica as it was noted."""
    if answer is None:
        return None
    rules = {rule_id: RuleOutcome(**outcome) for rule_id, outcome in answer["rules"].items()}
    noted = {"exports": _exports(answer), "state": ReplicaState(answer["state"]), "rules": rules}
    return ReplicaMade(**{**answer, **noted})


def outcomes(answer: Any) -> dict[str, SnapshotOutcome] | None:
    """Return what became of the instances of a replicated share's snapshot as it was noted, by instance id."""
    if answer is None:
        return None
    return {identity: _outcome(each) for identity, each in answer.items()}


def _outcome(answer: Mapping[str, Any]) -> SnapshotOutcome:
    exports = None if answer["exports"] is None else _exports(answer)
    return SnapshotOutcome(SnapshotState(answer["state"]), answer["provider_location"], exports)


def _exports(answer: Mapping[str, Any]) -> tuple[ExportLocation, ...]:
    return tuple(ExportLocation(**export) for export in answer["exports"])


def _pieces(kept: Mapping[str, str]) -> list[str]:
    return [key for key in kept if key.startswith(_ANSWER)]
