"""Managers of back ends, zones, pools, extensions."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.functional.shares.api.parts import HOST, MEMBER, Shares, refused

from isthmus.control.database import utc_now
from isthmus.shares.store import reports
from isthmus.shares.tables import ServiceRow

NAMED = {"host": HOST, "binary": "manila-share"}


def silence(shares: Shares, host: str = HOST) -> None:
    with shares.database.transaction() as session:
        long_ago = utc_now() - timedelta(hours=1)
        session.execute(update(ServiceRow).where(ServiceRow.host == host).values(heartbeat_at=long_ago))


def hosts(answer: dict[str, Any]) -> list[str]:
    return [service["host"] for service in answer["services"]]


def test_a_living_manager_is_up(shares: Shares) -> None:
    identity = shares.back_end()
    (service,) = shares.get("/services")["services"]
    assert service.pop("updated_at") is not None
    assert service == {
        **NAMED,
        "id": identity,
        "zone": "nova",
        "status": "enabled",
        "state": "up",
        "disabled_reason": None,
        "ensuring": False,
        "isthmus:answers": True,
        "isthmus:trouble": None,
    }


def test_a_manager_tells_what_is_wrong_with_its_storage(shares: Shares) -> None:
    shares.back_end()
    for answers, trouble in ((False, "the pool is read-only"), (True, None)):
        with shares.database.transaction() as session:
            reports.say_health(session, HOST, answers=answers, trouble=trouble)
        (service,) = shares.get("/services")["services"]
        assert (service["state"], service["isthmus:answers"], service["isthmus:trouble"]) == ("up", answers, trouble)


def test_a_silent_manager_is_down(shares: Shares) -> None:
    shares.back_end()
    silence(shares)
    assert shares.get("/services")["services"][0]["state"] == "down"


@pytest.mark.parametrize(("version", "count"), [("2.7", 7), ("2.83", 8), ("2.86", 9)])
def test_service_fields_come_with_versions(shares: Shares, version: str, count: int) -> None:
    shares.back_end()
    (service,) = shares.get("/services", version=version)["services"]
    assert len([name for name in service if not name.startswith("isthmus:")]) == count
    refused(shares.call("GET", "/os-services", version=version), 404)


def test_the_old_path_is_for_old_versions(shares: Shares) -> None:
    shares.back_end()
    assert hosts(shares.get("/os-services", version="2.6")) == [HOST]
    refused(shares.call("GET", "/services", version="2.6"), 404)


@pytest.mark.parametrize(
    ("query", "found"),
    [("host=node@beta", 1), ("binary=manila-share", 2), ("zone=far", 1), ("state=up", 1), ("state=down", 1),
     ("status=enabled", 2), ("status=disabled", 0), ("status=odd", 0), ("ensuring=true", 0), ("ensuring=false", 2),
     ("ensuring=odd", 0), ("zone=none", 0), ("odd=1", 2)],
)  # fmt: skip
def test_services_are_filtered(shares: Shares, query: str, found: int) -> None:
    shares.back_end()
    shares.back_end("node@beta", zone="far")
    silence(shares, "node@beta")
    assert len(hosts(shares.get(f"/services?{query}"))) == found


def test_a_back_end_is_closed_and_opened(shares: Shares) -> None:
    shares.back_end()
    closed = shares.put("/services/disable", {**NAMED, "disabled_reason": " new disks "})
    assert (closed["status"], closed["disabled_reason"]) == ("disabled", "new disks")
    assert shares.get("/services")["services"][0]["disabled_reason"] == "new disks"
    assert shares.put("/services/enable", NAMED) == {
        **NAMED,
        "status": "enabled",
        "disabled_reason": None,
        "ensuring": None,
    }
    assert shares.get("/services")["services"][0]["disabled_reason"] is None


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [("disable", {"host": HOST}, 400), ("enable", {}, 400), ("disable", {**NAMED, "host": "none"}, 404),
     ("disable", {**NAMED, "disabled_reason": "x" * 256}, 400), ("disable", {**NAMED, "disabled_reason": " "}, 400),
     ("stop", NAMED, 404)],
)  # fmt: skip
def test_wrong_words_to_a_service_are_refused(shares: Shares, path: str, body: dict[str, str], status: int) -> None:
    shares.back_end()
    refused(shares.call("PUT", f"/services/{path}", body), status)
    assert shares.get("/services")["services"][0]["status"] == "enabled"


def test_a_reason_needs_2_83(shares: Shares) -> None:
    shares.back_end()
    refused(shares.call("PUT", "/services/disable", {**NAMED, "disabled_reason": "x"}, version="2.82"), 400, "2.83")


def test_services_are_for_administrators(shares: Shares) -> None:
    shares.back_end()
    refused(shares.call("GET", "/services", by=MEMBER), 403)
    refused(shares.call("PUT", "/services/disable", NAMED, by=MEMBER), 403)


def test_going_through_shares_is_one_job_at_a_time(shares: Shares) -> None:
    shares.back_end()
    for _ in range(2):
        shares.post("/services/ensure-shares", {"ensure_shares": {"host": HOST}}, 202)
    (job,) = shares.jobs()
    assert (job.kind, job.backend) == ("ensure_shares", HOST)
    assert shares.get("/services")["services"][0]["ensuring"] is True


def test_only_a_living_manager_goes_through_shares(shares: Shares) -> None:
    shares.back_end()
    silence(shares)
    refused(shares.call("POST", "/services/ensure-shares", {"ensure_shares": {"host": HOST}}), 409)
    refused(shares.call("POST", "/services/ensure-shares", {"ensure_shares": {"host": "none"}}), 404)
    bodies: list[dict[str, Any]] = [{}, {"ensure_shares": {}}, {"ensure_shares": {"host": HOST, "x": 1}}]
    for wrong in bodies:
        refused(shares.call("POST", "/services/ensure-shares", wrong), 400)
    assert shares.jobs() == []


def test_zones_are_those_of_managers(shares: Shares) -> None:
    shares.back_end()
    (zone,) = shares.get("/availability-zones", by=MEMBER)["availability_zones"]
    assert set(zone) == {"id", "name", "created_at", "updated_at"}
    assert zone["name"] == "nova"
    assert shares.get("/os-availability-zone", version="2.6")["availability_zones"] == [zone]
    refused(shares.call("GET", "/availability-zones", version="2.6"), 404)


def test_there_are_no_extensions(shares: Shares) -> None:
    assert shares.get("/extensions") == {"extensions": []}
    refused(shares.call("GET", "/extensions/any"), 404)


def pool_names(shares: Shares, query: str = "", **options: Any) -> list[str]:
    return [pool["name"] for pool in shares.get(f"/scheduler-stats/pools{query}", **options)["pools"]]


def test_pools_are_shown_with_what_they_can_do(shares: Shares) -> None:
    shares.back_end(pools=("one", "two"))
    assert shares.get("/scheduler-stats/pools")["pools"][0] == {
        "name": f"{HOST}#one",
        "host": "node",
        "backend": "alpha",
        "pool": "one",
    }
    capabilities = shares.get("/scheduler-stats/pools/detail")["pools"][0]["capabilities"]
    assert capabilities["share_backend_name"] == "ALPHA"
    assert "timestamp" in capabilities


def test_pools_are_filtered_by_regular_expressions(shares: Shares) -> None:
    shares.back_end()
    shares.back_end("node@beta", pools=("big",))
    assert pool_names(shares, "?backend=%5Ebeta$&host=node&pool=b.*") == ["node@beta#big"]
    assert pool_names(shares, "?host=nod") == [f"{HOST}#pool", "node@beta#big"]
    assert pool_names(shares, "?odd=1") == []
    refused(shares.call("GET", "/scheduler-stats/pools?host=%5B"), 400, "host")


def test_pools_are_filtered_by_share_type(shares: Shares) -> None:
    shares.back_end()
    shares.share_type("fits", share_backend_name="ALPHA")
    shares.share_type("other", share_backend_name="BETA")
    assert pool_names(shares, "?share_type=fits") == [f"{HOST}#pool"]
    assert pool_names(shares, "?share_type=other") == []
    assert pool_names(shares, "?share_type=fits", version="2.22") == []
    refused(shares.call("GET", "/scheduler-stats/pools?share_type=none"), 400, "none")


def test_pools_of_silent_managers_are_not_shown(shares: Shares) -> None:
    shares.back_end()
    silence(shares)
    assert pool_names(shares) == []
    refused(shares.call("GET", "/scheduler-stats/pools", by=MEMBER), 403)
