"""Group types, their specs and projects; QoS types."""

from typing import Any

import pytest
from tests.functional.shares.api.parts import MEMBER, STRANGER, Shares, refused

TYPES, QOS = "/share-group-types", "/qos-types"
PROJECT = "11111111111111111111111111111111"


def make(shares: Shares, name: str = "g", **facts: Any) -> dict[str, Any]:
    if not shares.get("/types")["share_types"]:
        shares.share_type("gold")
    body = {"name": name, "share_types": ["gold"], **facts}
    made: dict[str, Any] = shares.post(TYPES, {"share_group_type": body})["share_group_type"]
    return made


def test_a_group_type_holds_share_types(shares: Shares) -> None:
    gold = shares.share_type("gold")
    made = make(shares, "gold-group", share_types=["gold", gold], group_specs={"a": "b"})
    assert made == {
        "id": made["id"],
        "name": "gold-group",
        "is_public": True,
        "group_specs": {"a": "b"},
        "share_types": [gold],
        "is_default": True,
    }
    assert shares.get(f"{TYPES}/{made['id']}", by=MEMBER)["share_group_type"] == made
    assert shares.get(f"{TYPES}/default", by=MEMBER)["share_group_type"] == made
    assert shares.get(TYPES, by=MEMBER)["share_group_types"] == [made]


def test_before_2_55_group_types_are_experimental(shares: Shares) -> None:
    refused(shares.call("GET", TYPES, version="2.30", experimental=True), 404)
    refused(shares.call("GET", TYPES, version="2.54"), 404)
    assert shares.get(TYPES, version="2.31", experimental=True) == {"share_group_types": []}
    assert shares.get(TYPES, version="2.55") == {"share_group_types": []}


def test_is_default_is_there_from_2_46(shares: Shares) -> None:
    make(shares)
    (shown,) = shares.get(TYPES, version="2.45", experimental=True)["share_group_types"]
    assert "is_default" not in shown


@pytest.mark.parametrize(
    ("facts", "status"),
    [({"share_types": []}, 400), ({"share_types": None}, 400), ({"share_types": ["none"]}, 404), ({"name": ""}, 400),
     ({"name": "x" * 256}, 400), ({"group_specs": "x"}, 400), ({"group_specs": {"a": 1}}, 400), ({"name": "g"}, 409)],
)  # fmt: skip
def test_wrong_group_types_are_refused(shares: Shares, facts: dict[str, Any], status: int) -> None:
    make(shares)
    body = {"share_group_type": {"name": "h", "share_types": ["gold"], **facts}}
    refused(shares.call("POST", TYPES, body), status)
    assert len(shares.get(TYPES)["share_group_types"]) == 1


def test_group_types_are_found_by_specs_from_2_66(shares: Shares) -> None:
    make(shares, "g", group_specs={"a": "b"})
    make(shares, "h")
    (shown,) = shares.get(f"{TYPES}?group_specs=%7B'a':'b'%7D")["share_group_types"]
    assert shown["name"] == "g"
    refused(shares.call("GET", f"{TYPES}?group_specs=%7B'a':'b'%7D", version="2.65"), 400, "2.66")


def test_private_group_types_are_their_projects(shares: Shares) -> None:
    made = make(shares, is_public=False)
    action = f"{TYPES}/{made['id']}/action"
    shares.post(action, {"addProjectAccess": {"project": PROJECT}}, 202)
    listed = shares.get(f"{TYPES}/{made['id']}/access")["share_group_type_access"]
    assert listed == [{"share_group_type_id": made["id"], "project_id": PROJECT}]
    assert shares.get(TYPES, by=STRANGER) == {"share_group_types": []}
    refused(shares.call("POST", action, {"addProjectAccess": {"project": PROJECT}}), 409)
    shares.post(action, {"removeProjectAccess": {"project": PROJECT}}, 202)
    refused(shares.call("POST", action, {"removeProjectAccess": {"project": PROJECT}}), 404)
    refused(shares.call("POST", action, {"addProjectAccess": {"project": "x"}}), 400)


def test_a_public_group_type_has_no_list_of_projects(shares: Shares) -> None:
    made = make(shares)
    refused(shares.call("GET", f"{TYPES}/{made['id']}/access"), 404)
    refused(shares.call("POST", f"{TYPES}/{made['id']}/action", {"addProjectAccess": {"project": PROJECT}}), 409)


def test_a_deleted_group_type_is_gone(shares: Shares) -> None:
    made = make(shares, group_specs={"a": "b"})
    refused(shares.call("DELETE", f"{TYPES}/{made['id']}", by=MEMBER), 403)
    shares.delete(f"{TYPES}/{made['id']}", 204)
    refused(shares.call("GET", f"{TYPES}/{made['id']}"), 404)
    refused(shares.call("DELETE", f"{TYPES}/{made['id']}"), 404)


def test_group_specs_are_set_read_and_removed(shares: Shares) -> None:
    path = f"{TYPES}/{make(shares)['id']}/group-specs"
    assert shares.post(path, {"group_specs": {"a": "b"}}) == {"group_specs": {"a": "b"}}
    assert shares.put(f"{path}/a", {"a": "c"}) == {"a": "c"}
    assert shares.get(path) == {"group_specs": {"a": "c"}}
    assert shares.get(f"{path}/a") == {"a": "c"}
    shares.delete(f"{path}/a", 204)
    refused(shares.call("GET", f"{path}/a"), 404)
    refused(shares.call("PUT", f"{path}/a", {"b": "c"}), 400)
    refused(shares.call("POST", path, {"group_specs": {"a b": "c"}}), 400)
    refused(shares.call("POST", path, {"group_specs": {"": "c"}}), 400)
    refused(shares.call("GET", path, by=MEMBER), 403)


def make_qos(shares: Shares, name: str = "fast", **facts: Any) -> dict[str, Any]:
    made: dict[str, Any] = shares.post(QOS, {"qos_type": {"name": name, **facts}})["qos_type"]
    return made


def test_a_qos_type_is_made_changed_and_deleted(shares: Shares) -> None:
    made = make_qos(shares, specs={"max_iops": "5"})
    path = f"{QOS}/{made['id']}"
    assert (made["description"], made["specs"]) == (None, {"max_iops": "5"})
    changed = shares.put(path, {"qos_type": {"description": "d", "name": "other"}})["qos_type"]
    assert (changed["description"], changed["name"]) == ("d", "fast")
    assert shares.get(path, by=MEMBER)["qos_type"] == changed
    shares.delete(path, 204)
    refused(shares.call("GET", path), 404)


def test_qos_types_are_listed_in_order_and_by_name(shares: Shares) -> None:
    for name in ("a", "b", "c"):
        make_qos(shares, name)
    listed = shares.get(f"{QOS}?sort_key=name&sort_dir=asc&limit=2", by=MEMBER)["qos_types"]
    assert [each["name"] for each in listed] == ["a", "b"]
    assert [each["name"] for each in shares.get(f"{QOS}?name=c")["qos_types"]] == ["c"]


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"qos_type": {}}, 400), ({"qos_type": {"name": "fast"}}, 409),
     ({"qos_type": {"name": "x", "specs": {"a": 5}}}, 400), ({"qos_type": {"name": "x" * 256}}, 400)],
)  # fmt: skip
def test_wrong_qos_types_are_refused(shares: Shares, body: dict[str, Any], status: int) -> None:
    make_qos(shares)
    refused(shares.call("POST", QOS, body), status)
    assert len(shares.get(QOS)["qos_types"]) == 1


def test_qos_specs_are_set_read_and_removed(shares: Shares) -> None:
    path = f"{QOS}/{make_qos(shares)['id']}/specs"
    assert shares.post(path, {"specs": {"a": "b"}}) == {"specs": {"a": "b"}}
    assert shares.put(f"{path}/a", {"a": "c"}) == {"a": "c"}
    assert shares.get(f"{path}/a") == {"a": "c"}
    shares.delete(f"{path}/a", 204)
    assert shares.get(path) == {"specs": {}}
    refused(shares.call("DELETE", f"{path}/a"), 404)
    refused(shares.call("POST", path, {"specs": {"a": "x" * 256}}), 400)
    refused(shares.call("POST", path, {"specs": {"a": "b"}}, by=MEMBER), 403)


def test_qos_types_are_there_from_2_94(shares: Shares) -> None:
    refused(shares.call("GET", QOS, version="2.93"), 404)
    refused(shares.call("POST", QOS, {"qos_type": {"name": "x"}}, by=MEMBER), 403)


def test_a_share_types_quality_must_be_there(shares: Shares) -> None:
    shares.back_end()
    shares.share_type("gold", default_qos_type="fast")
    body = {"share": {"share_proto": "NFS", "size": 1, "share_type": "gold"}}
    refused(shares.call("POST", "/shares", body, by=MEMBER), 400, "default_qos_type")
    make_qos(shares)
    shares.post("/shares", body, by=MEMBER)
