"""Share types, their extra specs, and the projects that may use private ones."""

from typing import Any

import pytest
from tests.functional.shares.api.parts import MEMBER, READER, STRANGER, Person, Shares, refused

DHSS = "driver_handles_share_servers"
PROJECT = "11111111111111111111111111111111"
GUEST = Person("gus", PROJECT)


def make(shares: Shares, name: str = "silver", *, version: str = "2.99", **facts: Any) -> dict[str, Any]:
    body = {"name": name, "extra_specs": {DHSS: "False"}, **facts}
    made: dict[str, Any] = shares.post("/types", {"share_type": body}, version=version)["share_type"]
    return made


def names(answer: dict[str, Any]) -> list[str]:
    return [row["name"] for row in answer["share_types"]]


def test_a_new_type_is_shown_under_both_names(shares: Shares) -> None:
    answer = shares.post("/types", {"volume_type": {"name": "silver", "extra_specs": {DHSS: "no"}}})
    assert answer["share_type"] == answer["volume_type"]
    assert answer["share_type"]["required_extra_specs"] == {DHSS: "no"}
    assert shares.get(f"/types/{answer['share_type']['id']}") == answer


@pytest.mark.parametrize(
    ("version", "access", "has_description", "has_default"),
    [
        ("2.0", "os-share-type-access:is_public", False, False),
        ("2.7", "share_type_access:is_public", False, False),
        ("2.41", "share_type_access:is_public", True, False),
        ("2.46", "share_type_access:is_public", True, True),
    ],
)
def test_fields_come_with_versions(
    shares: Shares, version: str, access: str, has_description: bool, has_default: bool
) -> None:
    shown = make(shares, "gold", version=version)
    assert shown[access] is True
    assert ("description" in shown) is has_description
    assert shown.get("is_default") is (True if has_default else None)


@pytest.mark.parametrize(("version", "expected"), [("2.23", "True"), ("2.24", None)])
def test_snapshot_support_is_presumed_by_old_versions(shares: Shares, version: str, expected: str | None) -> None:
    assert make(shares, version=version)["extra_specs"].get("snapshot_support") == expected


@pytest.mark.parametrize(
    "facts",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"name": 5},
        {"description": "x" * 256},
        {"extra_specs": {}},
        {"extra_specs": "x"},
        {"extra_specs": {DHSS: "perhaps"}},
        {"extra_specs": {DHSS: "no", "snapshot_support": "perhaps"}},
        {"extra_specs": {DHSS: "no", "replication_type": "odd"}},
        {"extra_specs": {DHSS: "no", "availability_zones": "a,,b"}},
        {"extra_specs": {DHSS: "no", "provisioning:max_share_size": "0"}},
        {"extra_specs": {DHSS: "no", "x": "y" * 256}},
        {"extra_specs": {DHSS: "no", "x": {"y": "z"}}},
        {"share_type_access:is_public": "perhaps"},
    ],
)
def test_what_no_type_can_be_is_refused(shares: Shares, facts: dict[str, Any]) -> None:
    body = {"share_type": {"name": "silver", "extra_specs": {DHSS: "no"}, **facts}}
    refused(shares.call("POST", "/types", body), 400)
    assert names(shares.get("/types?is_public=all")) == []


def test_a_description_needs_2_41(shares: Shares) -> None:
    body = {"share_type": {"name": "silver", "description": "d", "extra_specs": {DHSS: "no"}}}
    refused(shares.call("POST", "/types", body, version="2.40"), 400, "2.41")


def test_a_name_is_given_once(shares: Shares) -> None:
    make(shares)
    body = {"share_type": {"name": "silver", "extra_specs": {DHSS: "no"}}}
    refused(shares.call("POST", "/types", body), 409, "silver")


def test_only_administrators_make_and_delete(shares: Shares) -> None:
    made = make(shares)
    refused(shares.call("POST", "/types", {"share_type": {}}, by=MEMBER), 403)
    refused(shares.call("DELETE", f"/types/{made['id']}", by=MEMBER), 403)
    refused(shares.call("PUT", f"/types/{made['id']}", {"share_type": {"name": "x"}}, by=MEMBER), 403)


def test_tenants_see_how_shares_behave_and_no_more(shares: Shares) -> None:
    identity = shares.share_type("silver", secret="s", mount_snapshot_support="<is> True")
    shown = shares.get(f"/types/{identity}", by=READER)["share_type"]["extra_specs"]
    assert shown == {
        DHSS: "False",
        "snapshot_support": "True",
        "create_share_from_snapshot_support": False,
        "revert_to_snapshot_support": False,
        "mount_snapshot_support": "<is> True",
        "snapshot_inherit_share_access_support": False,
    }
    older = shares.get(f"/types/{identity}", by=READER, version="2.23")["share_type"]["extra_specs"]
    assert set(older) == {DHSS, "snapshot_support", "mount_snapshot_support"}


def test_private_types_are_listed_to_their_projects(shares: Shares) -> None:
    shares.share_type("open")
    shares.share_type("closed", is_public=False, projects=("p1",))
    assert names(shares.get("/types", by=MEMBER)) == ["closed", "open"]
    assert names(shares.get("/types", by=STRANGER)) == ["open"]
    assert names(shares.get("/types")) == ["open"]
    assert names(shares.get("/types?is_public=all")) == ["closed", "open"]
    assert names(shares.get("/types?is_public=false")) == ["closed"]
    assert names(shares.get("/types?is_public=all", by=STRANGER)) == ["open"]
    refused(shares.call("GET", "/types?is_public=perhaps"), 400, "perhaps")


def test_types_are_found_by_extra_specs(shares: Shares) -> None:
    shares.share_type("a", color="red", availability_zones="x,y")
    shares.share_type("b", color="blue")
    assert names(shares.get("/types?extra_specs=%7B'color':'red'%7D")) == ["a"]
    assert names(shares.get("/types?extra_specs=%7B'availability_zones':'y'%7D")) == ["a", "b"]
    assert names(shares.get("/types?extra_specs=%7B'availability_zones':'x,z'%7D")) == ["b"]
    refused(shares.call("GET", "/types?extra_specs=red"), 400)
    refused(shares.call("GET", "/types?extra_specs=%7B'color':'red'%7D", version="2.42"), 400, "2.43")


def test_the_default_type(shares: Shares) -> None:
    refused(shares.call("GET", "/types/default"), 404)
    identity = shares.share_type("gold")
    assert shares.get("/types/default", by=READER)["share_type"]["id"] == identity


def test_an_update_changes_what_it_names(shares: Shares) -> None:
    made = make(shares, description="old")
    path = f"/types/{made['id']}"
    assert shares.put(path, {"share_type": {"description": ""}})["share_type"]["description"] is None
    changed = shares.put(path, {"share_type": {"name": "tin", "share_type_access:is_public": "no"}})["share_type"]
    assert (changed["name"], changed["share_type_access:is_public"]) == ("tin", False)
    make(shares, "silver")
    refused(shares.call("PUT", path, {"share_type": {"name": "silver"}}), 409, "silver")
    for wrong in ({}, {"name": " "}, {"name": "x" * 256}, {"description": "x" * 256}):
        refused(shares.call("PUT", path, {"share_type": wrong}), 400)
    refused(shares.call("PUT", path, {"share_type": {"share_type_access:is_public": "perhaps"}}), 400)
    refused(shares.call("PUT", "/types/none", {"share_type": {"name": "x"}}), 404)
    refused(shares.call("PUT", path, {"share_type": {"name": "x"}}, version="2.49"), 404)


def test_a_deleted_type_is_gone_with_its_quotas(shares: Shares) -> None:
    identity = shares.share_type("silver")
    shares.put("/quota-sets/p1?share_type=silver", {"quota_set": {"shares": 1}})
    shares.delete(f"/types/{identity}")
    refused(shares.call("GET", f"/types/{identity}"), 404)
    refused(shares.call("DELETE", f"/types/{identity}"), 404)
    shares.share_type("silver")
    assert shares.get("/quota-sets/p1?share_type=silver")["quota_set"]["shares"] == 50


def test_a_type_that_a_group_type_has_stays(shares: Shares) -> None:
    identity = shares.share_type("silver")
    shares.post("/share-group-types", {"share_group_type": {"name": "g", "share_types": ["silver"]}})
    refused(shares.call("DELETE", f"/types/{identity}"), 400, "still in use")


def test_projects_come_and_go(shares: Shares) -> None:
    identity = shares.share_type("closed", is_public=False)
    action, listing = f"/types/{identity}/action", f"/types/{identity}/share_type_access"
    shares.post(action, {"addProjectAccess": {"project": PROJECT}}, 202)
    assert shares.get(listing) == {"share_type_access": [{"share_type_id": identity, "project_id": PROJECT}]}
    assert names(shares.get("/types", by=GUEST)) == ["closed"]
    refused(shares.call("POST", action, {"addProjectAccess": {"project": PROJECT}}), 409, PROJECT)
    shares.post(action, {"removeProjectAccess": {"project": PROJECT}}, 202)
    refused(shares.call("POST", action, {"removeProjectAccess": {"project": PROJECT}}), 404, PROJECT)
    refused(shares.call("POST", action, {"addProjectAccess": {"project": "no id"}}), 400)
    refused(shares.call("POST", action, {"addProjectAccess": {"project": PROJECT}}, by=MEMBER), 403)
    refused(shares.call("POST", action, {"grant": {}}), 400, "grant")


def test_a_public_type_has_no_list_of_projects(shares: Shares) -> None:
    identity = shares.share_type("open")
    refused(shares.call("GET", f"/types/{identity}/share_type_access"), 404)
    refused(shares.call("POST", f"/types/{identity}/action", {"addProjectAccess": {"project": PROJECT}}), 409)


def test_extra_specs_are_set_read_and_removed(shares: Shares) -> None:
    path = f"/types/{shares.share_type('silver')}/extra_specs"
    answer = shares.post(path, {"extra_specs": {"a": "b", "availability_zones": " x, y "}})
    assert answer == {"extra_specs": {"a": "b", "availability_zones": "x,y"}}
    assert shares.put(f"{path}/a", {"a": "c"}) == {"a": "c"}
    assert shares.get(f"{path}/a") == {"a": "c"}
    shares.delete(f"{path}/a")
    refused(shares.call("GET", f"{path}/a"), 404, "a")
    refused(shares.call("DELETE", f"{path}/a"), 404)
    assert set(shares.get(path)["extra_specs"]) == {DHSS, "snapshot_support", "availability_zones"}


@pytest.mark.parametrize(
    "specs", [{"": "x"}, {"k" * 256: "x"}, {"k": "x" * 256}, {"k": ""}, {"k": 5}, {"a b": "x"}, {DHSS: "perhaps"}]
)
def test_wrong_extra_specs_are_refused(shares: Shares, specs: dict[str, Any]) -> None:
    path = f"/types/{shares.share_type('silver')}/extra_specs"
    refused(shares.call("POST", path, {"extra_specs": specs}), 400)
    assert set(shares.get(path)["extra_specs"]) == {DHSS, "snapshot_support"}


def test_a_spec_is_changed_under_its_own_name(shares: Shares) -> None:
    path = f"/types/{shares.share_type('silver')}/extra_specs/a"
    refused(shares.call("PUT", path, {}), 400)
    refused(shares.call("PUT", path, {"b": "c"}), 400, "mismatch")
    refused(shares.call("PUT", path, {"a": "b", "c": "d"}), 400, "too many")


def test_specs_that_must_be_there_stay(shares: Shares) -> None:
    path = f"/types/{shares.share_type('silver')}/extra_specs"
    refused(shares.call("DELETE", f"{path}/{DHSS}"), 403)
    refused(shares.call("DELETE", f"{path}/snapshot_support", version="2.23"), 403)
    shares.delete(f"{path}/snapshot_support", version="2.24")


def test_specs_are_for_administrators(shares: Shares) -> None:
    path = f"/types/{shares.share_type('silver')}/extra_specs"
    for method, body in (("GET", None), ("POST", {"extra_specs": {"a": "b"}})):
        refused(shares.call(method, path, body, by=MEMBER), 403)
    refused(shares.call("GET", "/types/none/extra_specs"), 404)
    refused(shares.call("GET", f"{path}/"), 404)
