from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from tests.functional.shares.api import made
from tests.functional.shares.api.parts import ADMIN, COLLEAGUE, MEMBER, STRANGER, Person, Shares, refused

from isthmus.shares.model import Status

SERVICE = Person("nova", "p1", ("service", "member", "reader"))


@pytest.fixture
def share(shares: Shares) -> str:
    """Return the id of an available share of p1."""
    shares.share_type()
    shares.back_end()
    return made.share(shares)


def lock(shares: Shares, resource: str, *, by: Person = MEMBER, **facts: Any) -> Any:
    body = {"resource_lock": {"resource_id": resource, "resource_type": "share", **facts}}
    return shares.call("POST", "/resource-locks", body, by=by)


def locked(shares: Shares, resource: str, **facts: Any) -> str:
    answer = lock(shares, resource, **facts)
    assert answer.status_code == 200, answer.text
    return str(answer.json["resource_lock"]["id"])


def test_a_lock_forbids_deletion_to_all(shares: Shares, share: str) -> None:
    identity = locked(shares, share, lock_reason="mine")
    shown = shares.get(f"/resource-locks/{identity}", by=MEMBER)["resource_lock"]
    assert (shown["lock_context"], shown["resource_action"], shown["lock_reason"]) == ("user", "delete", "mine")
    for person in (MEMBER, ADMIN):
        refused(shares.call("DELETE", f"/shares/{share}", by=person), 403, identity)
    shares.delete(f"/resource-locks/{identity}", 204, by=MEMBER)
    shares.delete(f"/shares/{share}", by=MEMBER)


@pytest.mark.parametrize(
    ("maker", "remover", "status"),
    [
        (MEMBER, COLLEAGUE, 403),
        (MEMBER, ADMIN, 204),
        (MEMBER, SERVICE, 204),
        (SERVICE, replace(SERVICE, roles=("member", "reader")), 403),
        (SERVICE, ADMIN, 204),
        (ADMIN, SERVICE, 403),
        (ADMIN, MEMBER, 403),
    ],
)
def test_who_may_take_a_lock_away(shares: Shares, share: str, maker: Person, remover: Person, status: int) -> None:
    identity = locked(shares, share, by=replace(maker, project="p1"))
    answer = shares.call("DELETE", f"/resource-locks/{identity}", by=replace(remover, project="p1"))
    assert answer.status_code == status
    path = f"/resource-locks/{identity}"
    body = {"resource_lock": {"lock_reason": "r"}}
    answer = shares.call("PUT", path, body, by=replace(remover, project="p1"))
    assert answer.status_code == (404 if status == 204 else 403)


def test_locks_are_their_projects(shares: Shares, share: str) -> None:
    identity = locked(shares, share)
    refused(shares.call("GET", f"/resource-locks/{identity}", by=STRANGER), 404)
    refused(lock(shares, share, by=STRANGER), 403)
    assert shares.get("/resource-locks", by=STRANGER)["resource_locks"] == []
    assert shares.get("/resource-locks?all_projects=1", by=STRANGER)["resource_locks"] == []
    refused(shares.call("GET", "/resource-locks?project_id=p1", by=STRANGER), 403)
    assert len(shares.get("/resource-locks?all_projects=1")["resource_locks"]) == 1


@pytest.mark.parametrize(
    "facts",
    [
        {"resource_action": "show"},
        {"resource_action": "nonsense"},
        {"resource_type": "network"},
        {"lock_reason": "r" * 1024},
        {"lock_reason": 5},
        {"resource_id": "nothing"},
        {"resource_id": str(uuid4())},
        {"unknown": 1},
    ],
)
def test_nonsense_is_refused(shares: Shares, share: str, facts: dict[str, Any]) -> None:
    body = {"resource_lock": {"resource_id": share, "resource_type": "share", **facts}}
    refused(shares.call("POST", "/resource-locks", body, by=MEMBER), 400)


def test_what_is_going_is_locked_no_more(shares: Shares, share: str) -> None:
    made.share_status(shares, share, Status.DELETING)
    refused(lock(shares, share), 409, "not suitable")
    made.share_status(shares, share, Status.AVAILABLE)
    made.share_feature(shares, share, is_soft_deleted=True)
    refused(lock(shares, share), 409, "soft deleted")


def test_a_rules_visibility_is_locked_once(shares: Shares, share: str) -> None:
    body = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw"}}
    rule = shares.post(f"/shares/{share}/action", body, by=MEMBER)["access"]["id"]
    identity = locked(shares, rule, resource_type="access_rule", resource_action="show")
    refused(lock(shares, rule, resource_type="access_rule", resource_action="show"), 409, "visibility")
    other = locked(shares, rule, resource_type="access_rule")
    change = {"resource_lock": {"resource_action": "show"}}
    refused(shares.call("PUT", f"/resource-locks/{other}", change, by=MEMBER), 400, "already")
    shares.delete(f"/resource-locks/{identity}", 204, by=MEMBER)
    assert shares.put(f"/resource-locks/{other}", change, by=MEMBER)["resource_lock"]["resource_action"] == "show"


def test_a_lock_is_changed(shares: Shares, share: str) -> None:
    path = f"/resource-locks/{locked(shares, share)}"
    body = {"resource_lock": {"lock_reason": "new"}}
    assert shares.put(path, body, by=MEMBER)["resource_lock"]["lock_reason"] == "new"
    assert shares.get(path, by=MEMBER)["resource_lock"]["lock_reason"] == "new"
    for wrong in ({"resource_action": "x"}, {"resource_action": "show"}, {"resource_id": share}):
        refused(shares.call("PUT", path, {"resource_lock": wrong}, by=MEMBER), 400)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", 2),
        ("resource_type=share", 2),
        ("resource_type=access_rule", 0),
        ("lock_reason~=cle", 1),
        ("limit=1", 1),
        ("created_before=2000-01-01", 0),
        ("created_since=2000-01-01", 2),
        ("user_id=ann", 2),
    ],
)
def test_lists_of_locks(shares: Shares, share: str, query: str, found: int) -> None:
    locked(shares, share, lock_reason="clemson")
    locked(shares, share)
    answer = shares.get(f"/resource-locks?{query}&with_count=1", by=MEMBER)
    assert len(answer["resource_locks"]) == found
    assert ("count" in answer) == bool(found)


def test_locks_came_with_2_81(shares: Shares) -> None:
    refused(shares.call("GET", "/resource-locks", by=MEMBER, version="2.80"), 404)
    refused(shares.call("GET", "/resource-locks?created_since=x", by=MEMBER), 400)
    refused(shares.call("DELETE", "/resource-locks/nothing", by=MEMBER), 404)
