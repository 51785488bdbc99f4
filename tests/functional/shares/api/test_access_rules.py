from typing import Any

import pytest
from sqlalchemy import select, update
from tests.functional.shares.api.parts import ADMIN, COLLEAGUE, MEMBER, READER, STRANGER, Person, Shares, refused

from isthmus.shares.model import RulesStatus, RuleState, Status
from isthmus.shares.tables import InstanceRow, LockRow, RuleRow, RuleStateRow, ShareRow


@pytest.fixture
def share(shares: Shares) -> str:
    """Return the id of an available share of p1."""
    shares.share_type()
    shares.back_end()
    made: str = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS"}}, by=MEMBER)["share"]["id"]
    be(shares, made, Status.AVAILABLE)
    return made


def be(shares: Shares, share_id: str, status: Status) -> None:
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).where(InstanceRow.share_id == share_id).values(status=status))


def applied(shares: Shares, state: RuleState = RuleState.ACTIVE, status: RulesStatus = RulesStatus.ACTIVE) -> None:
    """Do as a share manager does when it is done."""
    with shares.database.transaction() as session:
        session.execute(update(RuleStateRow).values(state=state))
        session.execute(update(InstanceRow).values(access_rules_status=status))


def allow(shares: Shares, share_id: str, *, by: Person = MEMBER, version: str = "2.99", **facts: Any) -> Any:
    given = {"access_type": "ip", "access_to": "10.0.0.1", **facts}
    name = "os-allow_access" if version in {"2.0", "2.6"} else "allow_access"
    return shares.call("POST", f"/shares/{share_id}/action", {name: given}, by=by, version=version)


def made(shares: Shares, share_id: str, **facts: Any) -> dict[str, Any]:
    answer = allow(shares, share_id, **facts)
    assert answer.status_code == 200, answer.text
    rule: dict[str, Any] = answer.json["access"]
    return rule


def deny(shares: Shares, share_id: str, rule_id: str, *, by: Person = MEMBER, **facts: Any) -> Any:
    return shares.call("POST", f"/shares/{share_id}/action", {"deny_access": {"access_id": rule_id, **facts}}, by=by)


def listed(shares: Shares, share_id: str, query: str = "", *, by: Person = MEMBER) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shares.get(f"/share-access-rules?share_id={share_id}{query}", by=by)["access_list"]
    return found


def test_a_rule_is_queued_and_its_back_end_told(shares: Shares, share: str) -> None:
    rule = made(shares, share, access_level="ro", metadata={"who": "ann"})
    assert (rule["state"], rule["access_level"], rule["share_id"]) == ("queued_to_apply", "ro", share)
    assert rule["metadata"] == {"who": "ann"}
    job = shares.jobs()[-1]
    assert (job.kind, job.subject) == ("update_access", share)
    assert shares.get(f"/shares/{share}", by=MEMBER)["share"]["access_rules_status"] == "syncing"
    assert shares.get(f"/shares/{share}", by=MEMBER, version="2.27")["share"]["access_rules_status"] == "out_of_sync"
    assert shares.get(f"/share-access-rules/{rule['id']}", by=READER)["access"] == rule
    refused(shares.call("GET", f"/share-access-rules/{rule['id']}", by=STRANGER), 404)


def test_a_rule_without_a_level_may_write(shares: Shares, share: str) -> None:
    assert made(shares, share)["access_level"] == "rw"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"access_to": "10.0.0.1/24"}, "has host bits set"),
        ({"access_to": "10.0.0.256"}, ""),
        ({"access_to": "nonsense"}, ""),
        ({"access_to": None}, "both text"),
        ({"access_type": "user", "access_to": "abc"}, "Must be 4-255 characters"),
        ({"access_type": "user", "access_to": "try+ing"}, "exclude special characters"),
        ({"access_type": "cert", "access_to": "x" * 65}, "Must be 1-64 chars long"),
        ({"access_type": "cephx", "access_to": "client.x"}, "may not contain periods"),
        ({"access_type": "odd"}, "access types are supported"),
        ({"access_level": "su"}, "Invalid share access level: su."),
        ({"metadata": {"a": ""}}, "value is blank"),
        ({"lock_reason": "why"}, "Lock reason can only be specified"),
        ({"lock_deletion": "maybe"}, "lock_deletion"),
    ],
)
def test_a_rule_that_is_refused(shares: Shares, share: str, facts: dict[str, Any], words: str) -> None:
    refused(allow(shares, share, **facts), 400, words)
    assert listed(shares, share) == []


@pytest.mark.parametrize(
    ("version", "facts"),
    [
        ("2.12", {"access_type": "cephx", "access_to": "alice"}),
        ("2.37", {"access_to": "2001:db8::1"}),
    ],
)
def test_kinds_of_clients_come_with_versions(shares: Shares, share: str, version: str, facts: dict[str, Any]) -> None:
    refused(allow(shares, share, version=version, **facts), 400)
    assert allow(shares, share, **facts).status_code == 200


def test_one_client_has_one_rule(shares: Shares, share: str) -> None:
    made(shares, share, access_to="10.0.0.1")
    refused(allow(shares, share, access_to="10.0.0.1/32"), 400, "Share access ip:10.0.0.1/32 exists.")
    made(shares, share, access_to="10.0.0.0/24")
    made(shares, share, access_type="user", access_to="alice")
    refused(allow(shares, share, access_type="user", access_to="alice"), 400, "exists")


@pytest.mark.parametrize("status", [Status.CREATING, Status.DELETING, Status.EXTENDING, Status.REVERTING])
def test_rules_wait_for_a_share_at_rest(shares: Shares, share: str, status: Status) -> None:
    rule = made(shares, share)
    be(shares, share, status)
    refused(allow(shares, share, access_to="10.0.0.2"), 400, "New access rules cannot be applied")
    refused(deny(shares, share, rule["id"]), 400, "Access rules cannot be denied")
    update_body = {"update_access": {"access_level": "ro"}}
    refused(shares.call("PUT", f"/share-access-rules/{rule['id']}", update_body, by=MEMBER), 400, "cannot be updated")


def test_rules_of_a_share_in_error_change_from_2_74_on(shares: Shares, share: str) -> None:
    be(shares, share, Status.ERROR)
    refused(allow(shares, share, version="2.73"), 400)
    assert allow(shares, share, version="2.74").status_code == 200


def test_before_2_28_errors_of_rules_forbid_others(shares: Shares, share: str) -> None:
    made(shares, share)
    applied(shares, RuleState.ERROR, RulesStatus.ERROR)
    refused(allow(shares, share, version="2.27", access_to="10.0.0.2"), 400, "Deny any rules in error state")
    assert allow(shares, share, version="2.28", access_to="10.0.0.2").status_code == 200


def test_before_2_28_a_rule_shows_the_shares_state(shares: Shares, share: str) -> None:
    answer = allow(shares, share, version="2.6")
    assert answer.json["access"]["state"] == "new"
    assert answer.json["access"].keys() == {"id", "share_id", "access_type", "access_to", "access_level", "state"}
    applied(shares)
    old = shares.post(f"/shares/{share}/action", {"os-access_list": None}, by=MEMBER, version="2.6")
    assert [each["state"] for each in old["access_list"]] == ["active"]
    refused(shares.call("POST", f"/shares/{share}/action", {"access_list": None}, version="2.45"), 404)


def test_a_denied_rule_is_queued(shares: Shares, share: str) -> None:
    rule = made(shares, share)
    applied(shares)
    refused(deny(shares, share, "no-such"), 404)
    refused(deny(shares, share, rule["id"], by=STRANGER), 404)
    refused(deny(shares, share, rule["id"], by=READER), 403)
    assert deny(shares, share, rule["id"]).status_code == 202
    assert listed(shares, share)[0]["state"] == "queued_to_deny"
    assert [job.kind for job in shares.jobs()][-2:] == ["update_access", "update_access"]


def test_a_level_is_changed(shares: Shares, share: str) -> None:
    rule = made(shares, share)
    applied(shares)
    path = f"/share-access-rules/{rule['id']}"
    bodies: tuple[dict[str, Any], ...] = ({}, {"update_access": {}}, {"update_access": {"access_level": "su"}})
    for body in bodies:
        refused(shares.call("PUT", path, body, by=MEMBER), 400)
    same = shares.put(path, {"update_access": {"access_level": "rw"}}, by=MEMBER)["access"]
    assert same["state"] == "active"
    changed = shares.put(path, {"update_access": {"access_level": "ro"}}, by=MEMBER)["access"]
    assert (changed["access_level"], changed["state"]) == ("ro", "queued_to_update")
    refused(shares.call("PUT", path, {"update_access": {"access_level": "ro"}}, by=STRANGER), 404)
    refused(shares.call("PUT", path, {"update_access": {"access_level": "ro"}}, version="2.87"), 404)


def test_a_list_is_of_one_share_and_filtered(shares: Shares, share: str) -> None:
    one = made(shares, share, metadata={"a": "1"})
    made(shares, share, access_to="10.0.0.2", access_level="ro")
    refused(shares.call("GET", "/share-access-rules", by=MEMBER), 400, "'share_id' has to be specified")
    refused(shares.call("GET", "/share-access-rules?share_id=x", by=MEMBER), 400, "Share x not found.")
    refused(shares.call("GET", f"/share-access-rules?share_id={share}", by=STRANGER), 400)
    assert len(listed(shares, share)) == 2
    assert [each["id"] for each in listed(shares, share, "&metadata={'a': '1'}")] == [one["id"]]
    assert [each["access_to"] for each in listed(shares, share, "&access_level=ro")] == ["10.0.0.2"]
    assert [each["id"] for each in listed(shares, share, "&access_type=ip&access_to=10.0.0.1")] == [one["id"]]
    for query in ("access_type=odd", "access_to=10.0.0.1", "access_level=su", "access_type=ip&access_to=x"):
        refused(shares.call("GET", f"/share-access-rules?share_id={share}&{query}", by=MEMBER), 400)


def test_metadata_of_a_rule(shares: Shares, share: str) -> None:
    rule = made(shares, share, metadata={"a": "1"})
    path = f"/share-access-rules/{rule['id']}/metadata"
    assert shares.put(path, {"metadata": {"b": "2"}}, by=MEMBER)["metadata"] == {"b": "2"}
    assert listed(shares, share)[0]["metadata"] == {"a": "1", "b": "2"}
    refused(shares.call("PUT", path, {"metadata": {"b": ""}}, by=MEMBER), 400)
    shares.delete(f"{path}/a", 200, by=MEMBER)
    refused(shares.call("DELETE", f"{path}/a", by=MEMBER), 404)
    refused(shares.call("DELETE", "/share-access-rules/x/metadata/a", by=MEMBER), 404)


def test_a_hidden_rule_is_hidden_from_others(shares: Shares, share: str) -> None:
    rule = made(shares, share, lock_visibility=True, lock_reason="mine")
    assert rule["access_to"] == "10.0.0.1"
    assert listed(shares, share)[0]["access_to"] == "10.0.0.1"
    hidden = listed(shares, share, by=COLLEAGUE)[0]
    assert (hidden["access_to"], hidden["access_key"]) == ("******", "******")
    assert listed(shares, share, "&access_type=ip&access_to=10.0.0.1", by=COLLEAGUE) == []
    assert listed(shares, share, by=ADMIN)[0]["access_to"] == "10.0.0.1"


def test_a_locked_rule_is_denied_by_who_locked_it(shares: Shares, share: str) -> None:
    rule = made(shares, share, lock_deletion=True)
    refused(shares.call("DELETE", f"/shares/{share}", by=MEMBER), 403, "prevent delete action")
    refused(deny(shares, share, rule["id"]), 403, "since it has been locked")
    refused(deny(shares, share, rule["id"], by=COLLEAGUE, unrestrict=True), 403, "not placed by you")
    assert deny(shares, share, rule["id"], unrestrict=True).status_code == 202
    with shares.database.transaction() as session:
        assert session.scalars(select(LockRow)).all() == []


def test_export_locations_hide_what_is_for_administrators(shares: Shares, share: str) -> None:
    assert shares.get(f"/shares/{share}/export_locations", by=MEMBER)["export_locations"] == []
    refused(shares.call("GET", f"/shares/{share}/export_locations", by=STRANGER), 404)
    refused(shares.call("GET", f"/shares/{share}/export_locations/x", by=MEMBER), 404)


@pytest.fixture
def public_rule(shares: Shares, share: str) -> str:
    """Return the id of a rule, with a key and metadata, of a share that all projects see."""
    rule = made(shares, share, metadata={"who": "ann"})["id"]
    with shares.database.transaction() as session:
        session.execute(update(ShareRow).values(is_public=True))
        session.execute(update(RuleRow).values(access_key="secret-key"))
    return str(rule)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [("PUT", "metadata", {"metadata": {"who": "zoe"}}), ("DELETE", "metadata/who", None)],
)
def test_metadata_of_a_public_shares_rules_is_its_own_projects(
    shares: Shares, public_rule: str, method: str, path: str, body: object
) -> None:
    refused(shares.call(method, f"/share-access-rules/{public_rule}/{path}", body, by=STRANGER), 403)
    shown = shares.get(f"/share-access-rules/{public_rule}", by=MEMBER)["access"]
    assert shown["metadata"] == {"who": "ann"}
    assert shares.call(method, f"/share-access-rules/{public_rule}/{path}", body, by=MEMBER).status_code == 200


def test_keys_of_a_public_shares_rules_are_hidden_from_other_projects(
    shares: Shares, share: str, public_rule: str
) -> None:
    for person, key in ((STRANGER, "******"), (MEMBER, "secret-key"), (ADMIN, "secret-key")):
        assert [each["access_key"] for each in listed(shares, share, by=person)] == [key]
        assert shares.get(f"/share-access-rules/{public_rule}", by=person)["access"]["access_key"] == key
        found = listed(shares, share, "&access_key=secret-key", by=person)
        assert len(found) == (0 if person is STRANGER else 1)
    action = {"access_list": None}
    old = shares.post(f"/shares/{share}/action", action, by=STRANGER, version="2.44")["access_list"]
    assert [each["access_key"] for each in old] == ["******"]
