"""Back ends of Manila's kind for tests, and shares, snapshots and rules to give them."""

import uuid
from pathlib import Path
from typing import Any

from isthmus.shares.drivers.facts import AccessLevel, AccessRule, AccessType, ShareFacts, SnapshotFacts
from isthmus.shares.drivers.manila.driver import ManilaDriver
from isthmus.shares.drivers.private_data import PrivateDataFile

DUMMY = "manila.tests.share.drivers.dummy.DummyDriver"
NO_DELAYS = {
    "dummy_driver_default_driver_method_delay": "0",
    "dummy_driver_driver_methods_delays": "create_share:0",
}


def dummy(name: str, store: Path, **options: str) -> ManilaDriver:
    """Return a started DummyDriver without delays; its private data is in the file `store`."""
    return backend(name, store, share_driver=DUMMY, **{**NO_DELAYS, **options})


def backend(name: str, store: Path, **options: str) -> ManilaDriver:
    """Return a started back end of this section."""
    made = ManilaDriver(name, {"driver": "manila", **options})
    made.keep_private_data_in(PrivateDataFile(store))
    made.start()
    return made


def share(backend: str, protocol: str = "NFS", **changes: Any) -> ShareFacts:
    """Return facts of a share that nobody has made yet."""
    facts: dict[str, Any] = {
        "instance_id": str(uuid.uuid4()),
        "share_id": str(uuid.uuid4()),
        "size_gib": 1,
        "protocol": protocol,
        "host": f"machine@{backend}#fake_pool_for_{backend}",
        "project_id": "project",
        "user_id": "user",
        "share_type_id": "0b7d3f1e-9f5c-4c3c-8f0e-2a3c5b1d7e11",
    }
    return ShareFacts(**{**facts, **changes})


def snapshot(of: ShareFacts, **changes: Any) -> SnapshotFacts:
    """Return facts of a snapshot that nobody has taken yet."""
    facts: dict[str, Any] = {
        "instance_id": str(uuid.uuid4()),
        "snapshot_id": str(uuid.uuid4()),
        "share": of,
        "size_gib": of.size_gib,
    }
    return SnapshotFacts(**{**facts, **changes})


def rule(to: str, kind: AccessType = AccessType.IP, level: AccessLevel = AccessLevel.RW) -> AccessRule:
    """Return a rule with an id of its own."""
    return AccessRule(str(uuid.uuid4()), kind, to, level)
