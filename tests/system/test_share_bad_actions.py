"""Actions that make no sense, and those of others: each is answered in Manila's error form, and changes nothing."""

import json
from typing import Any

import pytest
from lab.share_user import ShareUser
from tests.share_victim import CLIENT, HUGE, UNKNOWN, Victim

pytestmark = pytest.mark.usefixtures("unchanged")


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"fly": {}},
        {"extend": {"new_size": 3}, "shrink": {"new_size": 1}},
        {"extend": None},
        {"extend": 3},
        {"extend": {}},
        {"extend": {"new_size": "much"}},
        {"extend": {"new_size": 2}},
        {"extend": {"new_size": 1}},
        {"extend": {"new_size": 0}},
        {"extend": {"new_size": -5}},
        {"extend": {"new_size": HUGE}},
        {"shrink": None},
        {"shrink": {"new_size": 0}},
        {"shrink": {"new_size": -1}},
        {"shrink": {"new_size": 2}},
        {"shrink": {"new_size": 3}},
        {"shrink": {"new_size": "less"}},
        {"allow_access": None},
        {"allow_access": "10.0.0.1"},
        {"allow_access": {}},
        {"deny_access": None},
        {"deny_access": {}},
        {"revert": None},
        {"revert": {}},
        {"revert": {"snapshot_id": None}},
    ],
    ids=str,
)
def test_an_action_that_makes_no_sense(victim: Victim, action: dict[str, Any]) -> None:
    victim.user.fault(400, "POST", f"/shares/{victim.share['id']}/action", action)


@pytest.mark.parametrize(
    "action", [{"deny_access": {"access_id": UNKNOWN}}, {"revert": {"snapshot_id": UNKNOWN}}], ids=str
)
def test_an_action_on_something_unknown(victim: Victim, action: dict[str, Any]) -> None:
    answer = victim.user.call("POST", f"/shares/{victim.share['id']}/action", action)
    assert answer.status_code in {400, 404}
    assert list(answer.json()) in (["badRequest"], ["itemNotFound"])


@pytest.mark.parametrize("action", ["reset_status", "force_delete", "unmanage", "migration_start"])
def test_an_administrators_action_by_a_member(victim: Victim, action: str) -> None:
    victim.user.fault(
        403, "POST", f"/shares/{victim.share['id']}/action", {action: {"status": "error", "host": "a@b#c"}}
    )


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("ip", "10.0.0.1/24"),
        ("ip", "10.0.0.0/33"),
        ("ip", "10.0.0"),
        ("ip", "10.0.0.256"),
        ("ip", "client.example"),
        ("ip", ""),
        ("ip", "10.0.0.1; rm -rf /"),
        ("ip", "10.0.0.1\n10.0.0.2"),
        ("ip", "2001:db8::1/64"),
        ("ip", "2001:db8::/129"),
        ("ip", "::ffff:1.2.3.4.5"),
        ("ip", None),
        ("ip", 167772161),
        ("ip", ["10.0.0.1"]),
        ("ip", CLIENT),  # is allowed already
        ("ip", f"{CLIENT}/32"),
        ("user", "abc"),
        ("user", "...."),
        ("user", "a/b/c/d"),
        ("user", "x" * 256),
        ("cert", ""),
        ("cert", "x" * 65),
        ("cephx", ""),
        ("cephx", "client.admin"),
        ("dns", "client.example"),
        ("", "10.0.0.9"),
        (None, "10.0.0.9"),
        (7, "10.0.0.9"),
    ],
)
def test_an_access_rule_that_makes_no_sense(victim: Victim, kind: object, to: object) -> None:
    action = {"allow_access": {"access_type": kind, "access_to": to}}
    victim.user.fault(400, "POST", f"/shares/{victim.share['id']}/action", action)


@pytest.mark.parametrize("level", ["root", "rwx", "RW", 7, ["rw"]])
def test_an_access_level_that_there_is_not(victim: Victim, level: object) -> None:
    action = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.9", "access_level": level}}
    victim.user.fault(400, "POST", f"/shares/{victim.share['id']}/action", action)


@pytest.mark.parametrize("body", [{}, {"snapshot": None}, {"snapshot": {}}, {"snapshot": {"share_id": 7}}], ids=str)
def test_a_snapshot_of_nothing(victim: Victim, body: dict[str, Any]) -> None:
    answer = victim.user.call("POST", "/snapshots", body)
    assert answer.status_code in {400, 404, 422}, answer.text
    assert next(iter(answer.json().values()))["code"] == answer.status_code


def test_a_snapshot_of_an_unknown_share(victim: Victim) -> None:
    victim.user.fault(404, "POST", "/snapshots", {"snapshot": {"share_id": UNKNOWN}})


def test_a_share_that_has_a_snapshot_is_not_deleted(victim: Victim) -> None:
    message = victim.user.fault(403, "DELETE", f"/shares/{victim.share['id']}")
    assert "snapshot" in message.lower()


def test_a_share_smaller_than_its_snapshot(victim: Victim) -> None:
    wish = {"size": 1, "share_proto": "NFS", "snapshot_id": victim.snapshot["id"]}
    message = victim.user.fault(400, "POST", "/shares", {"share": wish})
    assert "size" in message


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/shares/{share}", None),
        ("PUT", "/shares/{share}", {"share": {"display_name": "stolen"}}),
        ("DELETE", "/shares/{share}", None),
        ("POST", "/shares/{share}/action", {"extend": {"new_size": 3}}),
        ("POST", "/shares/{share}/action", {"shrink": {"new_size": 1}}),
        ("POST", "/shares/{share}/action", {"allow_access": {"access_type": "ip", "access_to": "203.0.113.9"}}),
        ("POST", "/shares/{share}/action", {"revert": {"snapshot_id": "{snapshot}"}}),
        ("GET", "/shares/{share}/export_locations", None),
        ("GET", "/shares/{share}/metadata", None),
        ("POST", "/shares/{share}/metadata", {"metadata": {"mine": "now"}}),
        ("DELETE", "/shares/{share}/metadata/kept", None),
        ("GET", "/snapshots/{snapshot}", None),
        ("DELETE", "/snapshots/{snapshot}", None),
        ("PUT", "/snapshots/{snapshot}", {"snapshot": {"display_name": "stolen"}}),
        ("POST", "/snapshots", {"snapshot": {"share_id": "{share}"}}),
        ("POST", "/shares", {"share": {"size": 2, "share_proto": "NFS", "snapshot_id": "{snapshot}"}}),
        ("GET", "/share-access-rules/{rule}", None),
        ("PUT", "/share-access-rules/{rule}/metadata", {"metadata": {"mine": "now"}}),
    ],
)
def test_another_projects_things_are_not_there(
    stranger: ShareUser,
    victim: Victim,
    method: str,
    path: str,
    body: object,
) -> None:
    known = {"{share}": victim.share["id"], "{snapshot}": victim.snapshot["id"], "{rule}": victim.rule["id"]}
    text = json.dumps([path, body])
    for placeholder, identity in known.items():
        text = text.replace(placeholder, identity)
    path, body = json.loads(text)

    message = stranger.fault(404, method, path, body)

    assert "victim" not in message
    assert victim.user.project_id not in message


def test_another_projects_things_are_not_listed(stranger: ShareUser, victim: Victim) -> None:
    for query in (
        "",
        f"?project_id={victim.user.project_id}",
        "?all_tenants=1",
        f"?project_id={victim.user.project_id}&all_tenants=1",
    ):
        assert stranger.call("GET", f"/shares/detail{query}").json().get("shares", []) == []
        assert stranger.call("GET", f"/snapshots/detail{query}").json().get("snapshots", []) == []


def test_the_rules_of_another_projects_share(stranger: ShareUser, victim: Victim) -> None:
    stranger.fault(400, "GET", f"/share-access-rules?share_id={victim.share['id']}")


def test_a_path_with_another_project(stranger: ShareUser, victim: Victim) -> None:
    stranger.fault(400, "GET", f"/{victim.user.project_id}/shares")
