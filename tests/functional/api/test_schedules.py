"""Schedules through HTTP, and the loop that fires them with a clock of the test's own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from tests.functional.api.parts import Api, assert_fault
from tests.functional.api.test_audit import records

from isthmus.control.database import utc_now
from isthmus.control.outbox import OutboxRow
from isthmus.migration.model import ExecutionStatus
from isthmus.migration.services.timekeeper import Timekeeper
from isthmus.migration.tables import ExecutionRow, ScheduleFiringRow, ScheduleRow, TransferRow


class Clock:
    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def _schedule(api: Api, transfer_id: str, **body: Any) -> dict[str, Any]:
    answer = api.call("POST", f"/transfers/{transfer_id}/schedules", {"schedule": {"minute": 0}, **body})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json["schedule"]
    return made


def _show(api: Api, made: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = api.call("GET", f"/transfers/{made['transfer_id']}/schedules/{made['id']}").json["schedule"]
    return shown


def _due(made: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(made["next_due_at"])


def _executions(api: Api, transfer_id: str) -> list[ExecutionRow]:
    with api.database.transaction() as session:
        wanted = select(ExecutionRow).where(ExecutionRow.action_id == transfer_id).order_by(ExecutionRow.number)
        return list(session.scalars(wanted))


def test_a_schedule_is_made_and_shown_as_coriolis_does(api: Api) -> None:
    transfer = api.transfer()["id"]
    made = _schedule(api, transfer, schedule={"hour": 3, "minute": 30, "dow": None}, shutdown_instance=True)
    assert set(made) >= {
        "id", "transfer_id", "schedule", "expiration_date", "enabled", "shutdown_instance", "auto_deploy", "trust_id",
        "created_at", "updated_at", "deleted_at", "deleted",
    }  # fmt: skip
    assert made["schedule"] == {"hour": 3, "minute": 30}
    assert (made["enabled"], made["shutdown_instance"], made["auto_deploy"]) == (True, True, False)
    assert (_due(made).hour, _due(made).minute, made["firings"]) == (3, 30, [])
    assert _show(api, made) == made
    assert api.call("GET", f"/transfers/{transfer}/schedules").json["schedules"] == [made]


def test_null_means_the_default(api: Api) -> None:
    made = _schedule(
        api, api.transfer()["id"], enabled=None, expiration_date=None, shutdown_instance=None, auto_deploy=None
    )
    assert (made["enabled"], made["expiration_date"], made["shutdown_instance"]) == (True, None, False)


def test_an_update_changes_what_it_names(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"], expiration_date="2099-01-01T00:00:00Z")
    path = f"/transfers/{made['transfer_id']}/schedules/{made['id']}"
    assert made["expiration_date"] == "2099-01-01T00:00:00.000000"
    changed = api.call("PUT", path, {"schedule": {"minute": "*/5"}, "auto_deploy": True}).json["schedule"]
    assert (changed["schedule"], changed["auto_deploy"]) == ({"minute": "*/5"}, True)
    assert changed["expiration_date"] == made["expiration_date"]
    changed = api.call("PUT", path, {"expiration_date": None, "enabled": False}).json["schedule"]
    assert (changed["expiration_date"], changed["enabled"], changed["next_due_at"]) == (None, False, None)
    changed = api.call("PUT", path, {"enabled": True}).json["schedule"]
    assert changed["next_due_at"] is not None


def test_expired_schedules_are_listed_only_if_wanted(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    with api.database.transaction() as session:
        row = session.get(ScheduleRow, made["id"])
        assert row is not None
        row.expiration_date = utc_now() - timedelta(days=1)
    path = f"/transfers/{made['transfer_id']}/schedules"
    assert len(api.call("GET", path).json["schedules"]) == 1
    assert len(api.call("GET", f"{path}?show_expired=True").json["schedules"]) == 1
    assert api.call("GET", f"{path}?show_expired=false").json["schedules"] == []
    assert_fault(api.call("GET", f"{path}?show_expired=maybe"), 400, "badRequest", "show_expired")


def test_lists_are_paged_and_deleted_schedules_are_gone(api: Api) -> None:
    transfer = api.transfer()["id"]
    made = [_schedule(api, transfer)["id"] for _ in range(3)]
    path = f"/transfers/{transfer}/schedules"
    page = api.call("GET", f"{path}?limit=2&sort_key=created_at&sort_dir=asc").json["schedules"]
    assert [each["id"] for each in page] == made[:2]
    rest = api.call("GET", f"{path}?limit=2&sort_keys=created_at&sort_dirs=asc&marker={made[1]}").json["schedules"]
    assert [each["id"] for each in rest] == made[2:]
    assert api.call("DELETE", f"{path}/{made[0]}").status_code == 204
    assert_fault(api.call("GET", f"{path}/{made[0]}"), 404, "itemNotFound", made[0])
    assert_fault(api.call("DELETE", f"{path}/{made[0]}"), 404, "itemNotFound", made[0])


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "schedule"),
        ({"schedule": None}, "schedule"),
        ({"schedule": "0 2 * * *"}, "schedule"),
        ({"schedule": {"minute": 60}}, "schedule.minute"),
        ({"schedule": {"dom": 31, "month": 2}}, "never fires"),
        ({"schedule": {"minute": 0}, "expiration_date": "2001-01-01T00:00:00Z"}, "past"),
        ({"schedule": {"minute": 0}, "expiration_date": "tomorrow"}, "expiration_date"),
        ({"schedule": {"minute": 0}, "expiration_date": 7}, "expiration_date"),
        ({"schedule": {"minute": 0}, "expiration_date": "0001-01-01T00:00:00+23:00"}, "expiration_date"),
        ({"schedule": {"minute": 0}, "enabled": "yes"}, "enabled"),
        ({"schedule": {"minute": 0, "time_zone": "Nowhere/Land"}}, "time_zone"),
    ],
)
def test_a_schedule_that_is_wrong_or_never_fires_is_refused(api: Api, body: dict[str, Any], word: str) -> None:
    transfer = api.transfer()["id"]
    assert_fault(api.call("POST", f"/transfers/{transfer}/schedules", body), 400, "badRequest", word)
    assert api.call("GET", f"/transfers/{transfer}/schedules").json["schedules"] == []


def test_a_schedule_that_expires_before_it_is_due_is_refused(api: Api) -> None:
    soon = (utc_now() + timedelta(hours=1)).isoformat()
    day = (utc_now() + timedelta(days=40)).month
    body = {"schedule": {"month": day, "dom": 1, "hour": 0, "minute": 0}, "expiration_date": soon}
    answer = api.call("POST", f"/transfers/{api.transfer()['id']}/schedules", body)
    assert_fault(answer, 400, "badRequest", "never fires", "expires")


def test_unknown_and_foreign_objects_are_not_found(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    path = f"/transfers/{made['transfer_id']}/schedules"
    assert_fault(api.call("GET", f"{path}/no-such"), 404, "itemNotFound", "no-such")
    assert_fault(api.call("PUT", f"{path}/no-such", {"enabled": False}), 404, "itemNotFound")
    assert_fault(api.call("GET", "/transfers/no-such/schedules"), 404, "itemNotFound")
    other = api.transfer()["id"]
    assert_fault(api.call("GET", f"/transfers/{other}/schedules/{made['id']}"), 404, "itemNotFound")
    for method in ("GET", "DELETE"):
        assert_fault(api.call(method, f"{path}/{made['id']}", project="p2"), 404, "itemNotFound")
    assert_fault(api.call("PUT", f"{path}/{made['id']}", {"enabled": False}, project="p2"), 404, "itemNotFound")


def test_what_is_due_begins_an_execution_once(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"], shutdown_instance=True, auto_deploy=True)
    clock = Clock(_due(made) - timedelta(seconds=1))
    keeper = Timekeeper(api.database, clock)
    assert keeper.fire_schedules() == 0
    clock.now = _due(made)
    assert keeper.fire_schedules() == 1
    assert keeper.fire_schedules() == 0
    (run,) = _executions(api, made["transfer_id"])
    assert (run.status, run.shutdown_instances, run.auto_deploy) == (ExecutionStatus.RUNNING, True, True)
    assert ("start", "TransferExecution", f"execution-{run.id}") in api.outbox()
    shown = _show(api, made)
    assert [(each["outcome"], each["execution_id"]) for each in shown["firings"]] == [("STARTED", run.id)]
    assert _due(shown) == _due(made) + timedelta(hours=1)
    (told,) = records(api)
    assert (told["action"], told["resource"], told["object_id"]) == ("create", "transfers/executions", run.id)
    assert (told["user_id"], told["outcome"]) == ("noauth", "success")
    assert told["path"] == f"/{run.project_id}/transfers/{made['transfer_id']}/schedules/{made['id']}"


def test_of_many_conductors_at_once_one_fires(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    keepers = [Timekeeper(api.database, Clock(_due(made))) for _ in range(4)]
    for _ in range(40):
        with ThreadPoolExecutor(4) as pool:
            for outcome in [pool.submit(_try, keeper) for keeper in keepers]:
                outcome.result()
        if _executions(api, made["transfer_id"]):
            break
    assert len(_executions(api, made["transfer_id"])) == 1
    with api.database.transaction() as session:
        assert len(session.scalars(select(ScheduleFiringRow)).all()) == 1


def _try(keeper: Timekeeper) -> None:
    """Look once; SQLite, unlike the real databases, may refuse one of several writers."""
    try:
        keeper.fire_schedules()
    except OperationalError:
        return


def test_a_busy_transfer_is_skipped_and_the_reason_is_kept(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    running = api.execution(made["transfer_id"])["id"]
    Timekeeper(api.database, Clock(_due(made))).fire_schedules()
    (firing,) = _show(api, made)["firings"]
    assert (firing["outcome"], firing["execution_id"]) == ("SKIPPED", None)
    assert running in firing["message"]
    assert [run.id for run in _executions(api, made["transfer_id"])] == [running]


def test_a_skipped_schedule_leaves_the_transfer_its_own_trust(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    api.execution(made["transfer_id"], auto_deploy=True)
    _trust(api, made, transfer="of-who-executes", schedule="of-who-schedules")
    Timekeeper(api.database, Clock(_due(made))).fire_schedules()
    assert [each["outcome"] for each in _show(api, made)["firings"]] == ["SKIPPED"]
    assert _trust_of(api, made) == "of-who-executes"


def test_a_fired_schedule_acts_with_its_own_trust(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    _trust(api, made, transfer="of-who-made-it", schedule="of-who-schedules")
    Timekeeper(api.database, Clock(_due(made))).fire_schedules()
    assert _trust_of(api, made) == "of-who-schedules"
    with api.database.transaction() as session:
        (started,) = session.scalars(select(OutboxRow)).all()
        assert (started.input or {})["trust_id"] == "of-who-schedules"


def _trust(api: Api, made: dict[str, Any], *, transfer: str, schedule: str) -> None:
    with api.database.transaction() as session:
        session.get_one(TransferRow, made["transfer_id"]).trust_id = transfer
        session.get_one(ScheduleRow, made["id"]).trust_id = schedule


def _trust_of(api: Api, made: dict[str, Any]) -> str | None:
    with api.database.transaction() as session:
        return session.get_one(TransferRow, made["transfer_id"]).trust_id


def test_after_an_absence_only_the_last_due_time_is_fired(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"], schedule={"minute": "0,30"})
    clock = Clock(_due(made) + timedelta(minutes=70))
    Timekeeper(api.database, clock).fire_schedules()
    outcomes = [each["outcome"] for each in _show(api, made)["firings"]]
    assert outcomes == ["STARTED", "MISSED", "MISSED"]
    assert len(_executions(api, made["transfer_id"])) == 1


def test_a_due_time_of_long_ago_is_missed(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"], schedule={"minute": 0, "hour": 2})
    Timekeeper(api.database, Clock(_due(made) + timedelta(hours=10))).fire_schedules()
    assert [each["outcome"] for each in _show(api, made)["firings"]] == ["MISSED"]
    assert _executions(api, made["transfer_id"]) == []
    assert _due(_show(api, made)) == _due(made) + timedelta(days=1)


def test_a_year_of_absence_is_not_a_year_of_rows(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"], schedule={})
    clock = Clock(_due(made) + timedelta(days=365))
    assert Timekeeper(api.database, clock).fire_schedules() == 1
    with api.database.transaction() as session:
        assert len(session.scalars(select(ScheduleFiringRow)).all()) <= 110
    assert len(_executions(api, made["transfer_id"])) == 1


@pytest.mark.parametrize(("method", "body"), [("PUT", {"enabled": False}), ("DELETE", None)])
def test_disabled_and_deleted_schedules_do_not_fire(api: Api, method: str, body: object) -> None:
    made = _schedule(api, api.transfer()["id"])
    assert api.call(method, f"/transfers/{made['transfer_id']}/schedules/{made['id']}", body).status_code in {200, 204}
    assert Timekeeper(api.database, Clock(_due(made))).fire_schedules() == 0
    assert _executions(api, made["transfer_id"]) == []


def test_an_expired_schedule_does_not_fire_any_more(api: Api) -> None:
    expires = (utc_now() + timedelta(hours=1, minutes=30)).isoformat()
    made = _schedule(api, api.transfer()["id"], expiration_date=expires)
    clock = Clock(_due(made))
    keeper = Timekeeper(api.database, clock)
    for _ in range(4):
        keeper.fire_schedules()
        api.finish(made["transfer_id"])
        clock.now += timedelta(hours=1)
    assert _show(api, made)["next_due_at"] is None
    assert 1 <= len(_executions(api, made["transfer_id"])) <= 2


def test_what_was_due_after_the_expiry_is_not_fired_by_a_conductor_that_was_away(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    expires = _due(made) + timedelta(minutes=30)
    path = f"/transfers/{made['transfer_id']}/schedules/{made['id']}"
    assert api.call("PUT", path, {"expiration_date": f"{expires.isoformat()}Z"}).status_code == 200
    Timekeeper(api.database, Clock(_due(made) + timedelta(hours=1, minutes=5))).fire_schedules()
    shown = _show(api, made)
    assert [(each["due_at"], each["outcome"]) for each in shown["firings"]] == [(made["next_due_at"], "MISSED")]
    assert shown["next_due_at"] is None
    assert _executions(api, made["transfer_id"]) == []


def test_a_due_time_before_the_expiry_is_fired_shortly_after_it(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    expires = _due(made) + timedelta(minutes=30)
    path = f"/transfers/{made['transfer_id']}/schedules/{made['id']}"
    assert api.call("PUT", path, {"expiration_date": f"{expires.isoformat()}Z"}).status_code == 200
    Timekeeper(api.database, Clock(_due(made) + timedelta(minutes=40))).fire_schedules()
    assert [each["outcome"] for each in _show(api, made)["firings"]] == ["STARTED"]


def test_a_deleted_transfer_takes_its_schedules_along(api: Api) -> None:
    made = _schedule(api, api.transfer()["id"])
    assert api.call("DELETE", f"/transfers/{made['transfer_id']}").status_code == 204
    assert Timekeeper(api.database, Clock(_due(made))).fire_schedules() == 0
    with api.database.transaction() as session:
        transfer = session.get(TransferRow, made["transfer_id"])
        assert transfer is not None
        assert transfer.last_execution_status == ExecutionStatus.UNEXECUTED
