"""Share networks, subnets and their metadata, and what security services they use."""

from typing import Any

import pytest
from sqlalchemy import insert
from tests.functional.shares.api.parts import ADMIN, MEMBER, READER, STRANGER, Person, Shares, refused

from isthmus.control.database import utc_now
from isthmus.shares.tables import GroupRow

NETWORKS = "/share-networks"


def make(shares: Shares, *, by: Person = MEMBER, version: str = "2.99", **facts: Any) -> dict[str, Any]:
    made: dict[str, Any] = shares.post(NETWORKS, {"share_network": facts}, by=by, version=version)["share_network"]
    return made


def service(shares: Shares, kind: str = "ldap", *, by: Person = MEMBER) -> str:
    body = {"security_service": {"type": kind}}
    made: dict[str, str] = shares.post("/security-services", body, by=by)["security_service"]
    return made["id"]


def act(shares: Shares, identity: str, name: str, argument: Any, *, by: Person = MEMBER, version: str = "2.99") -> Any:
    return shares.call("POST", f"{NETWORKS}/{identity}/action", {name: argument}, by=by, version=version)


def names(answer: dict[str, Any]) -> list[str]:
    return [network["name"] for network in answer["share_networks"]]


def test_a_network_begins_with_one_subnet(shares: Shares) -> None:
    made = make(shares, name="n", description="d", neutron_net_id="net", neutron_subnet_id="sub")
    (subnet,) = made["share_network_subnets"]
    assert (subnet["neutron_net_id"], subnet["neutron_subnet_id"], subnet["availability_zone"]) == ("net", "sub", None)
    assert (made["status"], made["project_id"], subnet["metadata"]) == ("active", "p1", {})
    assert shares.get(f"{NETWORKS}/{made['id']}", by=READER)["share_network"] == made


@pytest.mark.parametrize(
    ("version", "there", "absent"),
    [
        ("2.0", {"neutron_net_id", "cidr", "nova_net_id"}, {"gateway", "mtu", "share_network_subnets", "status"}),
        ("2.18", {"gateway"}, {"mtu"}),
        ("2.20", {"mtu", "nova_net_id"}, set()),
        ("2.26", {"mtu"}, {"nova_net_id"}),
        ("2.51", {"share_network_subnets"}, {"neutron_net_id", "mtu", "status"}),
        ("2.63", {"status", "security_service_update_support"}, {"network_allocation_update_support"}),
        ("2.70", {"network_allocation_update_support"}, set()),
    ],
)
def test_fields_come_and_go_with_versions(shares: Shares, version: str, there: set[str], absent: set[str]) -> None:
    identity = make(shares)["id"]
    shown = set(shares.get(f"{NETWORKS}/{identity}", by=MEMBER, version=version)["share_network"])
    assert there <= shown
    assert not absent & shown


def test_network_types_are_for_administrators(shares: Shares) -> None:
    made = make(shares, network_type="vlan", segmentation_id=7, cidr="10.0.0.0/24", ip_version=4)
    (subnet,) = made["share_network_subnets"]
    assert (subnet["network_type"], subnet["segmentation_id"], subnet["cidr"]) == (None, None, "10.0.0.0/24")
    (subnet,) = shares.get(f"{NETWORKS}/{made['id']}")["share_network"]["share_network_subnets"]
    assert (subnet["network_type"], subnet["segmentation_id"]) == ("vlan", 7)
    assert names(shares.get(f"{NETWORKS}?network_type=odd", by=MEMBER)) == [None]
    assert names(shares.get(f"{NETWORKS}?all_tenants=1&network_type=odd")) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"share_network": {"neutron_net_id": "x"}}, 400), ({"share_network": {"nova_net_id": "x"}}, 400),
     ({"share_network": {"availability_zone": "none"}}, 400), ({"share_network": {"name": "x" * 256}}, 400),
     ({"share_network": {"neutron_net_id": "x" * 37, "neutron_subnet_id": "y"}}, 400),
     ({"share_network": {"cidr": 5}}, 400), ({"share_network": {"mtu": "x"}}, 400),
     ({"share_network": {"created_at": "yesterday"}}, 400)],
)  # fmt: skip
def test_wrong_networks_are_refused(shares: Shares, body: dict[str, Any], status: int) -> None:
    refused(shares.call("POST", NETWORKS, body, by=MEMBER), status)
    assert names(shares.get(NETWORKS, by=MEMBER)) == []


def test_networks_count_against_the_quota(shares: Shares) -> None:
    shares.put("/quota-sets/p1", {"quota_set": {"share_networks": 1}})
    identity = make(shares)["id"]
    refused(shares.call("POST", NETWORKS, {"share_network": {}}, by=MEMBER), 413, "(1)")
    shares.delete(f"{NETWORKS}/{identity}", by=MEMBER)
    make(shares)
    assert shares.get("/limits", by=MEMBER)["limits"]["absolute"]["totalShareNetworksUsed"] == 1


def test_networks_are_the_projects_own(shares: Shares) -> None:
    identity = make(shares, name="mine")["id"]
    make(shares, name="theirs", by=STRANGER)
    assert names(shares.get(NETWORKS, by=MEMBER)) == ["mine"]
    assert names(shares.get(f"{NETWORKS}?all_tenants=1", by=MEMBER)) == ["mine"]
    assert names(shares.get(NETWORKS)) == []
    assert names(shares.get(f"{NETWORKS}?all_tenants=1")) == ["mine", "theirs"]
    assert names(shares.get(f"{NETWORKS}?project_id=p2")) == ["theirs"]
    for method, body in (("GET", None), ("PUT", {"share_network": {"name": "x"}}), ("DELETE", None)):
        refused(shares.call(method, f"{NETWORKS}/{identity}", body, by=STRANGER), 404)
    refused(shares.call("DELETE", f"{NETWORKS}/{identity}", by=READER), 403)


@pytest.mark.parametrize(
    ("query", "found"),
    [("name=red", ["red"]), ("name~=e", ["red", "blue"]), ("description=first", ["red"]), ("odd=1", []),
     ("neutron_net_id=net", ["blue"]), ("ip_version=6", ["blue"]), ("cidr~=10.0", ["blue"]),
     ("created_since=2000-01-01", ["red", "blue"]), ("created_before=2000-01-01", []), ("limit=1&offset=1", ["blue"])],
)  # fmt: skip
def test_networks_are_filtered(shares: Shares, query: str, found: list[str]) -> None:
    make(shares, name="red", description="first")
    make(shares, name="blue", neutron_net_id="net", neutron_subnet_id="sub", ip_version=6, cidr="10.0.0.0/8")
    assert names(shares.get(f"{NETWORKS}?{query}", by=MEMBER)) == found


@pytest.mark.parametrize("query", ["created_since=soon", "ip_version=x", "limit=x", "all_tenants=perhaps"])
def test_wrong_filters_are_refused(shares: Shares, query: str) -> None:
    refused(shares.call("GET", f"{NETWORKS}?{query}"), 400)


def test_parts_of_names_are_looked_for_from_2_36(shares: Shares) -> None:
    make(shares, name="red")
    assert names(shares.get(f"{NETWORKS}?name~=e", by=MEMBER, version="2.35")) == []


def test_a_time_of_creation_may_be_told(shares: Shares) -> None:
    assert make(shares, created_at="2002-02-02")["created_at"] == "2002-02-02T00:00:00.000000"


def test_an_update_reaches_the_default_subnet(shares: Shares) -> None:
    path = f"{NETWORKS}/{make(shares)['id']}"
    refused(shares.call("PUT", path, {"share_network": {"neutron_net_id": "x"}}, by=MEMBER), 400, "both")
    wanted = {"name": "n", "neutron_net_id": "x", "neutron_subnet_id": "y"}
    shown = shares.put(path, {"share_network": wanted}, by=MEMBER, version="2.0")["share_network"]
    assert wanted.items() <= shown.items()
    shares.put(path, {"share_network": {"neutron_net_id": "z"}}, by=MEMBER)
    (subnet,) = shares.get(path, by=MEMBER)["share_network"]["share_network_subnets"]
    assert (subnet["neutron_net_id"], subnet["neutron_subnet_id"]) == ("z", "y")
    refused(shares.call("PUT", path, {}, by=MEMBER), 422)


def test_what_a_group_lies_on_stays(shares: Shares) -> None:
    identity = make(shares)["id"]
    with shares.database.transaction() as session:
        session.execute(
            insert(GroupRow).values(
                id="g", project_id="p1", user_id="ann", status="available", share_network_id=identity,
                created_at=utc_now(),
            )
        )  # fmt: skip
    refused(shares.call("DELETE", f"{NETWORKS}/{identity}", by=MEMBER), 409, "1 share group")


def subnet(shares: Shares, identity: str, *, version: str = "2.99", **facts: Any) -> dict[str, Any]:
    path = f"{NETWORKS}/{identity}/subnets"
    answer = shares.post(path, {"share-network-subnet": facts}, by=MEMBER, version=version)
    made: dict[str, Any] = answer["share_network_subnet"]
    return made


def test_subnets_are_for_zones(shares: Shares) -> None:
    shares.back_end()
    zone = shares.get("/availability-zones")["availability_zones"][0]
    identity = make(shares, name="n")["id"]
    made = subnet(shares, identity, availability_zone=zone["id"])
    assert (made["availability_zone"], made["share_network_id"], made["share_network_name"]) == ("nova", identity, "n")
    path = f"{NETWORKS}/{identity}/subnets"
    assert shares.get(f"{path}/{made['id']}", by=READER)["share_network_subnet"] == made
    assert len(shares.get(path, by=MEMBER)["share_network_subnets"]) == 2
    refused(shares.call("DELETE", f"{NETWORKS}/{identity}", by=MEMBER), 409, "more than one subnet")
    shares.delete(f"{path}/{made['id']}", by=MEMBER)
    refused(shares.call("GET", f"{path}/{made['id']}", by=MEMBER), 404)
    shares.delete(f"{NETWORKS}/{identity}", by=MEMBER)


def test_a_zone_has_one_subnet_before_2_70(shares: Shares) -> None:
    identity = make(shares)["id"]
    body: dict[str, Any] = {"share-network-subnet": {}}
    refused(shares.call("POST", f"{NETWORKS}/{identity}/subnets", body, by=MEMBER, version="2.69"), 409)
    subnet(shares, identity, version="2.70")


def test_wrong_subnets_are_refused(shares: Shares) -> None:
    identity = make(shares)["id"]
    path = f"{NETWORKS}/{identity}/subnets"
    for wrong in ({"neutron_net_id": "x"}, {"availability_zone": "none"}, {"metadata": {"": "x"}}):
        refused(shares.call("POST", path, {"share-network-subnet": wrong}, by=MEMBER), 400)
    refused(shares.call("POST", path, {"share_network_subnet": {}}, by=MEMBER), 400)
    refused(shares.call("POST", f"{NETWORKS}/none/subnets", {"share-network-subnet": {}}, by=MEMBER), 404)
    refused(shares.call("GET", path, by=STRANGER), 404)
    refused(shares.call("GET", path, by=MEMBER, version="2.50"), 404)


def metadata_path(shares: Shares, **carried: str) -> str:
    identity = make(shares)["id"]
    return f"{NETWORKS}/{identity}/subnets/{subnet(shares, identity, metadata=carried)['id']}/metadata"


def test_metadata_is_merged_replaced_and_removed(shares: Shares) -> None:
    path = metadata_path(shares, a="1")
    assert shares.get(path, by=READER) == {"metadata": {"a": "1"}}
    assert shares.post(path, {"metadata": {"b": "2"}}, by=MEMBER) == {"metadata": {"b": "2"}}
    assert shares.post(f"{path}/b", {"metadata": {"b": "3"}}, by=MEMBER) == {"metadata": {"b": "3"}}
    assert shares.get(path, by=MEMBER) == {"metadata": {"a": "1", "b": "3"}}
    assert shares.get(f"{path}/b", by=MEMBER) == {"meta": {"b": "3"}}
    shares.delete(f"{path}/b", 200, by=MEMBER)
    refused(shares.call("GET", f"{path}/b", by=MEMBER), 404)
    refused(shares.call("DELETE", f"{path}/b", by=MEMBER), 404)
    assert shares.put(path, {"metadata": {"c": "4"}}, by=MEMBER) == {"metadata": {"c": "4"}}
    assert shares.get(path, by=MEMBER) == {"metadata": {"c": "4"}}


@pytest.mark.parametrize(
    "wrong", [{"": "x"}, {"k" * 256: "x"}, {"k": ""}, {"k": "x" * 1024}, {"k": 5}, {"k": None}, "k"]
)
def test_wrong_metadata_is_refused(shares: Shares, wrong: Any) -> None:
    path = metadata_path(shares, a="1")
    for method in ("POST", "PUT"):
        refused(shares.call(method, path, {"metadata": wrong}, by=MEMBER), 400)
    assert shares.get(path, by=MEMBER) == {"metadata": {"a": "1"}}


def test_longest_metadata_is_kept(shares: Shares) -> None:
    path, longest = metadata_path(shares), {"k" * 255: "v" * 1023}
    shares.put(path, {"metadata": longest}, by=MEMBER)
    assert shares.get(path, by=MEMBER) == {"metadata": longest}


def test_a_single_key_is_named_twice(shares: Shares) -> None:
    path = metadata_path(shares)
    refused(shares.call("POST", f"{path}/a", {"metadata": {"b": "1"}}, by=MEMBER), 400, "mismatch")
    refused(shares.call("POST", f"{path}/a", {"metadata": {"a": "1", "b": "1"}}, by=MEMBER), 400, "too many")
    refused(shares.call("POST", path, {"metadata": {"b": "1"}}, by=READER), 403)
    refused(shares.call("GET", path, by=STRANGER), 404)
    refused(shares.call("GET", path, by=MEMBER, version="2.77"), 404)


def test_security_services_come_and_go(shares: Shares) -> None:
    identity, used = make(shares)["id"], service(shares)
    assert act(shares, identity, "add_security_service", {"security_service_id": used}).status_code == 200
    listed = shares.get(f"/security-services/detail?share_network_id={identity}", by=MEMBER)["security_services"]
    assert [(each["id"], each["share_networks"]) for each in listed] == [(used, [identity])]
    assert len(shares.get(f"{NETWORKS}?security_service_id={used}", by=MEMBER)["share_networks"]) == 1
    refused(shares.call("DELETE", f"/security-services/{used}", by=MEMBER), 403, "share network")
    assert act(shares, identity, "remove_security_service", {"security_service_id": used}).status_code == 200
    refused(act(shares, identity, "remove_security_service", {"security_service_id": used}), 400, "No association")
    shares.delete(f"/security-services/{used}", by=MEMBER)


def test_a_deleted_network_leaves_its_security_services(shares: Shares) -> None:
    identity, used = make(shares)["id"], service(shares)
    act(shares, identity, "add_security_service", {"security_service_id": used})
    shares.delete(f"{NETWORKS}/{identity}", by=MEMBER)
    shares.delete(f"/security-services/{used}", by=MEMBER)


def test_a_network_uses_one_security_service_of_a_type(shares: Shares) -> None:
    identity = make(shares)["id"]
    for kind, status in (("ldap", 200), ("kerberos", 200), ("ldap", 409)):
        answer = act(shares, identity, "add_security_service", {"security_service_id": service(shares, kind)})
        assert answer.status_code == status, answer.text


def test_security_services_of_others_are_not_there(shares: Shares) -> None:
    identity, theirs = make(shares)["id"], service(shares, by=STRANGER)
    refused(act(shares, identity, "add_security_service", {"security_service_id": theirs}), 404)
    refused(act(shares, identity, "add_security_service_check", {"security_service_id": theirs}), 400)
    refused(act(shares, identity, "add_security_service", {}), 400)
    mine = {"security_service_id": service(shares)}
    refused(act(shares, identity, "add_security_service", mine, by=STRANGER), 404)
    refused(act(shares, identity, "add_security_service", mine, by=READER), 403)


def test_a_security_service_is_replaced_by_one_of_its_type(shares: Shares) -> None:
    identity, old, new, other = make(shares)["id"], service(shares), service(shares), service(shares, "kerberos")
    pair = {"current_service_id": old, "new_service_id": new}
    refused(act(shares, identity, "update_security_service", pair), 409, "not associated")
    act(shares, identity, "add_security_service", {"security_service_id": old})
    refused(act(shares, identity, "update_security_service", {**pair, "new_service_id": other}), 409, "same type")
    refused(act(shares, identity, "update_security_service", {**pair, "new_service_id": "none"}), 400)
    refused(act(shares, identity, "update_security_service", pair, version="2.62"), 404)
    assert act(shares, identity, "update_security_service", pair).status_code == 202
    listed = shares.get(f"/security-services?share_network_id={identity}", by=MEMBER)["security_services"]
    assert [each["id"] for each in listed] == [new]


def test_checks_tell_that_nothing_hinders(shares: Shares) -> None:
    identity, used = make(shares)["id"], service(shares)
    answer = act(shares, identity, "add_security_service_check", {"security_service_id": used})
    assert (answer.status_code, answer.json) == (
        202,
        {
            "compatible": True,
            "requested_operation": {
                "operation": "add_security_service",
                "current_security_service": None,
                "new_security_service": used,
            },
        },
    )
    answer = act(shares, identity, "share_network_subnet_create_check", {}, by=ADMIN)
    assert (answer.status_code, answer.json) == (202, {"compatible": True, "hosts_check_result": {}})
    refused(act(shares, identity, "share_network_subnet_create_check", {"neutron_net_id": "x"}), 400)
    refused(act(shares, identity, "share_network_subnet_create_check", {"reset_operation": "perhaps"}), 400)
    refused(act(shares, identity, "share_network_subnet_create_check", {}, version="2.69"), 404)


def test_a_network_that_is_not_active_changes_nothing(shares: Shares) -> None:
    identity, used = make(shares)["id"], service(shares)
    assert act(shares, identity, "reset_status", {"status": "error"}, by=ADMIN).status_code == 202
    refused(act(shares, identity, "add_security_service", {"security_service_id": used}), 400, "error")
    refused(act(shares, identity, "reset_status", {"status": "odd"}, by=ADMIN), 400)
    refused(act(shares, identity, "reset_status", {"status": "active"}), 403)
    refused(act(shares, "none", "reset_status", {"status": "active"}, by=ADMIN), 404)


def test_there_are_no_share_servers(shares: Shares) -> None:
    assert shares.get("/share-servers") == {"share_servers": []}
    refused(shares.call("GET", "/share-servers", by=MEMBER), 403)
    for method, path in (("GET", "none"), ("GET", "none/details"), ("DELETE", "none")):
        refused(shares.call(method, f"/share-servers/{path}"), 404)
    for name, argument in (("reset_status", {"status": "active"}), ("unmanage", None)):
        refused(shares.call("POST", "/share-servers/none/action", {name: argument}), 404)
    refused(shares.call("POST", "/share-servers/none/action", {"reset_status": {"status": "odd"}}), 400)
    migration = {"migration_cancel": None}
    refused(shares.call("POST", "/share-servers/none/action", migration), 404, "resource")
    refused(shares.call("POST", "/share-servers/none/action", migration, experimental=True), 404, "none")


def test_no_share_server_is_taken_under_management(shares: Shares) -> None:
    shares.back_end()
    wanted = {"host": "node@alpha", "share_network_id": make(shares)["id"], "identifier": "i"}
    refused(shares.call("POST", "/share-servers/manage", {"share_server": wanted}), 400, "node@alpha")
    for change in ({"host": "none"}, {"host": "node@alpha#pool"}, {"identifier": ""}, {"share_network_id": "none"}):
        refused(shares.call("POST", "/share-servers/manage", {"share_server": {**wanted, **change}}), 400)
    refused(shares.call("POST", "/share-servers/manage", {}), 422)
