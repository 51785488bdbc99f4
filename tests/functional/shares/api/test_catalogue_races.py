"""Administrators' and tenants' calls at once about one object, on a real MariaDB."""

from functools import partial
from typing import Any

import pytest
from tests.functional.shares.api.parts import ADMIN, MEMBER, Shares
from tests.functional.shares.api.test_races import at_once, database_url

__all__ = ["database_url"]

ROUNDS = 6


def status_of(shares: Shares, method: str, path: str, body: Any, by: Any = ADMIN) -> int:
    return shares.call(method, path, body, by=by).status_code


def test_of_types_with_one_name_one_is_made(shares: Shares) -> None:
    for turn in range(ROUNDS):
        specs = {"driver_handles_share_servers": "no", "a": "b"}
        body = {"share_type": {"name": f"type-{turn}", "extra_specs": specs}}
        make = partial(status_of, shares, "POST", "/types", body)
        assert sorted(at_once(make, make, make)) == [200, 409, 409]
    assert len(shares.get("/types")["share_types"]) == ROUNDS


def test_a_network_gets_one_security_service_of_a_type(shares: Shares) -> None:
    made = shares.post("/share-networks", {"share_network": {}}, by=MEMBER)["share_network"]["id"]
    calls = []
    for _ in range(4):
        body = {"security_service": {"type": "ldap"}}
        service = shares.post("/security-services", body, by=MEMBER)["security_service"]["id"]
        action = {"add_security_service": {"security_service_id": service}}
        calls.append(partial(status_of, shares, "POST", f"/share-networks/{made}/action", action, MEMBER))
    assert sorted(at_once(*calls)) == [200, 409, 409, 409]


def test_a_zone_gets_one_subnet_before_2_70(shares: Shares) -> None:
    made = shares.post("/share-networks", {"share_network": {}}, by=MEMBER)["share_network"]["id"]
    (only,) = shares.get(f"/share-networks/{made}/subnets", by=MEMBER)["share_network_subnets"]
    shares.delete(f"/share-networks/{made}/subnets/{only['id']}", by=MEMBER)

    def add() -> int:
        body: dict[str, Any] = {"share-network-subnet": {}}
        return shares.call("POST", f"/share-networks/{made}/subnets", body, by=MEMBER, version="2.69").status_code

    assert sorted(at_once(add, add, add)) == [200, 409, 409]


def test_networks_never_pass_the_quota(shares: Shares) -> None:
    shares.put("/quota-sets/p1", {"quota_set": {"share_networks": 2}})
    make = partial(status_of, shares, "POST", "/share-networks", {"share_network": {}}, MEMBER)
    assert sorted(at_once(*[make] * 5)) == [200, 200, 413, 413, 413]
    assert len(shares.get("/share-networks", by=MEMBER)["share_networks"]) == 2


def test_the_same_words_at_once_are_all_kept(shares: Shares) -> None:
    made = shares.post("/share-networks", {"share_network": {}}, by=MEMBER)["share_network"]
    path = f"/share-networks/{made['id']}/subnets/{made['share_network_subnets'][0]['id']}/metadata"
    for turn in range(ROUNDS):
        calls = [
            partial(status_of, shares, "POST", path, {"metadata": {f"key-{turn}": word, word: "x"}}, MEMBER)
            for word in ("a", "b", "c")
        ]
        assert at_once(*calls) == [200, 200, 200]
        found = shares.get(path, by=MEMBER)["metadata"]
        assert found[f"key-{turn}"] in {"a", "b", "c"}
        assert {"a", "b", "c"} <= found.keys()


@pytest.mark.parametrize("path", ["/quota-sets/p1", "/quota-sets/p1?user_id=ann"])
def test_a_limit_set_at_once_is_one_of_those_set(shares: Shares, path: str) -> None:
    for _ in range(ROUNDS):
        calls = [partial(status_of, shares, "PUT", path, {"quota_set": {"shares": limit}}) for limit in (5, 6, 7)]
        assert at_once(*calls) == [200, 200, 200]
        assert shares.get(path)["quota_set"]["shares"] in {5, 6, 7}
        shares.delete(path)
