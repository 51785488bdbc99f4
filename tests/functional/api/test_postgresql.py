"""The API and its schema on a real PostgreSQL of the test's own."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial

import pytest
from tests.functional.api.parts import Api, schema_differences
from tests.functional.api.test_assessments import begin, carry_out, machine
from tests.functional.api.test_audit import SERVICES, records
from tests.postgresql import postgresql

from isthmus.control.audit import audited
from isthmus.control.database import utc_now
from isthmus.migration.services.timekeeper import Timekeeper
from isthmus.migration.store import pools
from isthmus.migration.workflows.calls import MinionsWanted, ServiceFacts
from isthmus.migration.workflows.pool_control import PoolActivities
from isthmus.migration.workflows.pools import moves_of


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    with postgresql() as url:
        yield url


def test_revisions_and_tables_agree(api: Api) -> None:
    with api.database.engine.connect() as connection:
        assert schema_differences(connection) == []


def test_of_many_calls_at_once_one_wins(api: Api) -> None:
    for _ in range(5):
        transfer = api.transfer()["id"]
        api.execution(transfer)
        api.finish(transfer)
        execute = partial(api.call, "POST", f"/transfers/{transfer}/executions", {"execution": {}})
        deploy = partial(api.call, "POST", "/deployments", {"deployment": {"transfer_id": transfer}})
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(call) for call in (execute, deploy) * 4]
        assert sorted(call.result().status_code for call in calls) == [200] + [409] * 7


def test_pages_follow_one_another(api: Api) -> None:
    made = {api.transfer()["id"] for _ in range(3)}
    order = {"sort_key": "updated_at", "limit": "2"}
    first = [each["id"] for each in api.call("GET", "/transfers", params=order).json["transfers"]]
    rest = api.call("GET", "/transfers", params={"sort_key": "updated_at", "marker": first[-1]}).json["transfers"]
    assert made <= {*first, *(each["id"] for each in rest)}


def test_of_many_conductors_at_once_one_fires(api: Api) -> None:
    transfer = api.transfer()["id"]
    path = f"/transfers/{transfer}/schedules"
    made = api.call("POST", path, {"schedule": {"minute": 0}}).json["schedule"]
    keeper = Timekeeper(api.database, lambda: datetime.fromisoformat(made["next_due_at"]))
    with ThreadPoolExecutor(6) as pool:
        done = [call.result() for call in [pool.submit(keeper.fire_schedules) for _ in range(6)]]
    assert sum(done) == 1
    (firing,) = api.call("GET", f"{path}/{made['id']}").json["schedule"]["firings"]
    assert firing["outcome"] == "STARTED"


def test_a_pools_places_are_given_once_to_many_at_once(api: Api) -> None:
    endpoint = api.endpoint()["id"]
    body = {"name": "p", "endpoint_id": endpoint, "os_type": "linux", "platform": "source", "maximum_minions": 3}
    pool_id = api.call("POST", "/minion_pools", {"minion_pool": body}).json["minion_pool"]["id"]
    activities = PoolActivities(api.database, utc_now)
    for move in moves_of(pool_id, "allocate"):
        assert activities.move_pool(move)
    wanted = [MinionsWanted(f"run{number}", {"web": (pool_id,)}) for number in range(8)]

    def take(each: MinionsWanted) -> list[str]:
        with api.database.transaction() as session:
            return pools.take(session, each.execution_id, each.pools, utc_now(), lambda: str(uuid.uuid4()))

    with ThreadPoolExecutor(8) as threads:
        served = [call.result() for call in [threads.submit(take, each) for each in wanted]]
    assert sorted(map(len, served)) == [0] * 5 + [1] * 3
    assert api.call("DELETE", f"/endpoints/{endpoint}").status_code == 409
    forced = api.call("POST", f"/minion_pools/{pool_id}/actions", {"deallocate": {"force": True}})
    assert forced.json["minion_pool"]["minion_machines"] == []
    assert api.call("DELETE", f"/minion_pools/{pool_id}").status_code == 204


def test_regions_and_services_are_unique(api: Api) -> None:
    facts = ServiceFacts("h", "b", "t")
    for _ in range(2):
        PoolActivities(api.database, utc_now).record_service(facts)
    assert len(api.call("GET", "/services").json["services"]) == 1
    answers = [api.call("POST", "/regions", {"region": {"name": "east"}}).status_code for _ in range(2)]
    assert answers == [200, 409]


def test_assessments_events_and_the_audit_record(api: Api) -> None:
    seen = Api(api.database, api.vault, api.engine, audited(api.app, api.database, SERVICES, "p1"))
    to = seen.endpoint("to")["id"]
    made = begin(seen, instances=["a"], destination_endpoint_id=to).json["assessment"]
    assert made["id"] in seen.call("GET", "/events").text
    carry_out(seen, made["id"], [machine("a", tpm=True)])
    (found,) = seen.call("GET", f"/assessments/{made['id']}/machines?severity=warning").json["machines"]
    assert [each["code"] for each in found["concerns"]] == ["TPM"]
    transfer = seen.transfer()
    run = seen.execution(transfer["id"])
    told = seen.call("GET", "/events", headers={"Last-Event-ID": "0"}).text
    assert all(identity in told for identity in (run["id"], made["id"]))
    assert {row["outcome"] for row in records(seen)} == {"success"}
    assert seen.call("GET", f"/audit?object_id={run['id']}").json["audit"][0]["action"] == "create"
    assert seen.call("DELETE", f"/assessments/{made['id']}").status_code == 204
