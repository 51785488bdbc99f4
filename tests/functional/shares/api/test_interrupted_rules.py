"""Access rules by a Manila driver that can only add and remove, when a manager dies amid a change."""

from pathlib import Path

import pytest
from tests.functional.shares.api.ledger import work_off
from tests.functional.shares.api.parts import MEMBER, Shares
from tests.functional.shares.manila_backends import backend

from isthmus.control.database import utc_now
from isthmus.shares.drivers.manila.driver import ManilaDriver
from isthmus.shares.store import rules

DRIVERS = "tests.functional.shares.manila_drivers"


@pytest.fixture
def strict(tmp_path: Path) -> ManilaDriver:
    return backend("PLAIN", tmp_path / "private", share_driver=f"{DRIVERS}.StrictDriver")


def allow(shares: Shares, share: str, client: str, level: str = "rw") -> str:
    asked = {"allow_access": {"access_type": "ip", "access_to": client, "access_level": level}}
    return str(shares.post(f"/shares/{share}/action", asked, by=MEMBER)["access"]["id"])


def test_a_client_that_was_being_denied_is_out_when_the_next_manager_is_done(
    shares: Shares, strict: ManilaDriver
) -> None:
    shares.share_type()
    shares.back_end()
    share = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS"}}, by=MEMBER)["share"]["id"]
    work_off(shares, strict)
    denied = allow(shares, share, "10.0.0.1")
    allow(shares, share, "10.0.0.2")
    work_off(shares, strict)
    (instance,) = shares.get(f"/shares/{share}/instances")["share_instances"]

    shares.post(f"/shares/{share}/action", {"deny_access": {"access_id": denied}}, 202, by=MEMBER)
    with shares.database.transaction() as session:
        rules.begin(session, instance["id"], utc_now())  # and then the manager is killed
    allow(shares, share, "10.0.0.3", "ro")
    work_off(shares, strict)

    assert strict._made.held == {"10.0.0.2": "rw", "10.0.0.3": "ro"}
    found = shares.get(f"/share-access-rules?share_id={share}", by=MEMBER)["access_list"]
    assert {(rule["access_to"], rule["state"]) for rule in found} == {("10.0.0.2", "active"), ("10.0.0.3", "active")}
