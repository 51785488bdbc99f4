"""Waves through the API: what is made, what is refused, and that refusals change nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from tests.functional.api.parts import Api, assert_fault

from isthmus.migration.model import MemberStatus, WaveStatus
from isthmus.migration.tables import WaveGroupRow, WaveMemberRow, WaveRow


def _body(*transfers: str, **changes: Any) -> dict[str, Any]:
    groups: list[dict[str, Any]] = [
        {"name": f"group{n}", "members": [{"transfer_id": each}]} for n, each in enumerate(transfers)
    ]
    return {"wave": {"name": "night", "groups": groups, **changes}}


def _wave(api: Api, **changes: Any) -> dict[str, Any]:
    answer = api.call("POST", "/waves", _body(api.transfer()["id"], **changes))
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json["wave"]
    return made


def _act(api: Api, wave_id: str, action: str, wishes: object = None) -> Any:
    return api.call("POST", f"/waves/{wave_id}/actions", {action: wishes})


def _stand(api: Api, wave: dict[str, Any], status: WaveStatus, member: MemberStatus, group: WaveStatus) -> None:
    """Do what the conductor does."""
    with api.database.transaction() as session:
        session.execute(update(WaveRow).where(WaveRow.id == wave["id"]).values(status=status))
        session.execute(update(WaveGroupRow).where(WaveGroupRow.wave_id == wave["id"]).values(status=group))
        ids = [group["id"] for group in wave["groups"]]
        session.execute(update(WaveMemberRow).where(WaveMemberRow.group_id.in_(ids)).values(status=member))


def test_a_wave_is_made_and_waits_for_its_start(api: Api) -> None:
    made = _wave(api, max_in_flight=3, auto_deploy=True)
    assert (made["status"], made["max_in_flight"], made["auto_deploy"], made["after"]) == ("PENDING", 3, True, [])
    assert made["counts"] == {status.value: int(status == "PENDING") for status in MemberStatus}
    assert api.outbox() == []
    assert api.call("GET", f"/waves/{made['id']}").json["wave"] == made
    assert api.call("GET", "/waves").json["waves"] == [made]
    assert api.call("GET", "/waves?status=RUNNING").json["waves"] == []
    assert _act(api, made["id"], "start").json["wave"]["status"] == "SCHEDULED"
    assert api.outbox() == [("start", "Wave", f"wave-{made['id']}-1")]


def test_a_wave_with_a_start_time_is_the_engines_at_once(api: Api) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    made = _wave(api, starts_at=later.isoformat())
    assert made["status"] == "SCHEDULED"
    assert made["starts_at"].startswith(later.strftime("%Y-%m-%dT%H:%M"))
    assert api.outbox() == [("start", "Wave", f"wave-{made['id']}-1")]
    started = _act(api, made["id"], "start").json["wave"]
    assert started["starts_at"] is None
    assert api.outbox()[1:] == [("signal", "look", f"wave-{made['id']}-1")]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"groups": []}, "groups"),
        ({"groups": [{"name": "a", "members": []}]}, "members"),
        ({"groups": [{"name": "a", "gate": "open", "members": [{"transfer_id": "x"}]}]}, "gate"),
        ({"groups": [{"name": "a", "members": [{"transfer_id": "x"}]}]}, "no such transfer"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_in_flight": "many"}, "max_in_flight"),
        ({"starts_at": "soon"}, "ISO 8601"),
        ({"starts_at": "2001-01-01T00:00:00Z"}, "past"),
        ({"after": ["nobody"]}, "no such wave"),
        ({"name": ""}, "name"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_what_does_not_fit_is_refused(api: Api, changes: dict[str, Any], word: str) -> None:
    answer = api.call("POST", "/waves", _body(api.transfer()["id"], **changes))
    assert_fault(answer, 400, "badRequest", word)
    assert api.call("GET", "/waves").json["waves"] == []
    assert api.outbox() == []


def test_two_groups_need_two_names(api: Api) -> None:
    groups = [{"name": "a", "members": [{"transfer_id": api.transfer()["id"]}]} for _ in range(2)]
    assert_fault(api.call("POST", "/waves", _body(groups=groups)), 400, "badRequest", "twice", "a")


def test_an_instance_is_in_a_wave_once(api: Api) -> None:
    transfer = api.transfer(instances=["web", "db"])["id"]
    whole, part = {"transfer_id": transfer}, {"transfer_id": transfer, "instances": ["db"]}
    refused = _body(groups=[{"name": "a", "members": [whole, part]}])
    assert_fault(api.call("POST", "/waves", refused), 400, "badRequest", "db", "twice")
    parts = [{"transfer_id": transfer, "instances": [name]} for name in ("web", "db")]
    assert api.call("POST", "/waves", _body(groups=[{"name": "a", "members": parts}])).status_code == 200
    stranger = _body(groups=[{"name": "a", "members": [{"transfer_id": transfer, "instances": ["mail"]}]}])
    assert_fault(api.call("POST", "/waves", stranger), 400, "badRequest", "mail")


def test_another_projects_transfers_and_waves_do_not_exist(api: Api) -> None:
    foreign = api.transfer(project="p2")
    assert_fault(api.call("POST", "/waves", _body(foreign["id"])), 400, "badRequest", foreign["id"])
    made = _wave(api)
    path = f"/waves/{made['id']}"
    calls: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", "", None),
        ("PUT", "", {"wave": {"name": "mine"}}),
        ("DELETE", "", None),
        *(("POST", "/actions", {action: None}) for action in ("start", "approve", "cancel", "retry")),
    ]
    for method, end, body in calls:
        assert_fault(api.call(method, path + end, body, project="p2"), 404, "itemNotFound", made["id"])
    theirs = api.call("POST", "/waves", _body(foreign["id"]), project="p2").json["wave"]
    waiting = {"wave": {"after": [theirs["id"]]}}
    assert_fault(api.call("PUT", path, waiting), 400, "badRequest", "no such wave")
    assert api.call("GET", path).json["wave"] == made


def test_waves_that_wait_in_a_circle_are_refused(api: Api) -> None:
    first = _wave(api)
    second = _wave(api, after=[first["id"]])
    third = _wave(api, after=[second["id"]])
    for after in ([third["id"]], [first["id"]], [second["id"]]):
        answer = api.call("PUT", f"/waves/{first['id']}", {"wave": {"after": after}})
        assert_fault(answer, 400, "badRequest", "circle", *after)
    assert api.call("GET", f"/waves/{first['id']}").json["wave"] == first
    assert_fault(api.call("DELETE", f"/waves/{first['id']}"), 409, "conflictingRequest", second["id"])
    assert api.call("DELETE", f"/waves/{third['id']}").status_code == 204
    assert_fault(api.call("GET", f"/waves/{third['id']}"), 404, "itemNotFound")


def test_groups_are_fixed_once_a_wave_was_started(api: Api) -> None:
    made = _wave(api)
    path = f"/waves/{made['id']}"
    other = _body(api.transfer()["id"])
    changed = api.call("PUT", path, {"wave": {"groups": other["wave"]["groups"], "max_in_flight": 2}}).json["wave"]
    assert changed["groups"][0]["members"][0]["transfer_id"] == other["wave"]["groups"][0]["members"][0]["transfer_id"]
    _act(api, made["id"], "start")
    assert_fault(
        api.call("PUT", path, {"wave": {"groups": other["wave"]["groups"]}}), 409, "conflictingRequest", "fixed"
    )
    _stand(api, changed, WaveStatus.RUNNING, MemberStatus.EXECUTING, WaveStatus.RUNNING)
    assert_fault(api.call("PUT", path, {"wave": {"auto_deploy": True}}), 409, "conflictingRequest", "RUNNING")
    assert api.call("PUT", path, {"wave": {"max_in_flight": 7}}).json["wave"]["max_in_flight"] == 7


def test_a_wave_under_way_and_its_transfers_are_not_deleted(api: Api) -> None:
    made = _wave(api)
    transfer = made["groups"][0]["members"][0]["transfer_id"]
    _act(api, made["id"], "start")
    assert_fault(api.call("DELETE", f"/waves/{made['id']}"), 409, "conflictingRequest", "SCHEDULED")
    assert_fault(api.call("DELETE", f"/transfers/{transfer}"), 409, "conflictingRequest", made["id"])
    _stand(api, made, WaveStatus.COMPLETED, MemberStatus.COMPLETED, WaveStatus.COMPLETED)
    assert api.call("DELETE", f"/transfers/{transfer}").status_code == 204
    assert api.call("DELETE", f"/waves/{made['id']}").status_code == 204


def test_a_wave_is_started_once(api: Api) -> None:
    made = _wave(api)
    _stand(api, made, WaveStatus.ERROR, MemberStatus.ERROR, WaveStatus.ERROR)
    assert_fault(_act(api, made["id"], "start"), 409, "conflictingRequest", "retry")


def test_only_what_is_under_way_can_be_cancelled(api: Api) -> None:
    made = _wave(api)
    assert_fault(_act(api, made["id"], "cancel"), 400, "badRequest", "PENDING")
    _act(api, made["id"], "start")
    cancelled = _act(api, made["id"], "cancel").json["wave"]
    assert (cancelled["status"], cancelled["counts"]["CANCELED"]) == ("CANCELLING", 1)
    assert api.outbox()[-1] == ("signal", "look", f"wave-{made['id']}-1")
    assert_fault(_act(api, made["id"], "cancel"), 400, "badRequest", "CANCELLING")


def test_an_approval_is_for_the_group_that_waits_or_is_named(api: Api) -> None:
    members = [{"transfer_id": api.transfer()["id"]}]
    groups = [{"name": "late", "gate": "manual", "members": members}]
    made = api.call("POST", "/waves", _body(groups=groups)).json["wave"]
    assert_fault(_act(api, made["id"], "approve"), 409, "conflictingRequest", "no group")
    assert_fault(_act(api, made["id"], "approve", {"group": "early"}), 400, "badRequest", "late")
    assert_fault(_act(api, made["id"], "approve", {"group": 7}), 400, "badRequest", "group")
    assert _act(api, made["id"], "approve", {"group": "late"}).json["wave"]["groups"][0]["approved"] is True
    assert api.outbox() == []


def test_retry_takes_up_what_failed_with_a_new_workflow(api: Api) -> None:
    made = _wave(api)
    assert_fault(_act(api, made["id"], "retry"), 409, "conflictingRequest", "PENDING")
    _act(api, made["id"], "start")
    _stand(api, made, WaveStatus.ERROR, MemberStatus.ERROR, WaveStatus.ERROR)
    retried = _act(api, made["id"], "retry").json["wave"]
    assert (retried["status"], retried["counts"]["PENDING"], retried["groups"][0]["status"]) == (
        "SCHEDULED",
        1,
        "PENDING",
    )
    assert api.outbox()[-1] == ("start", "Wave", f"wave-{made['id']}-2")
    _stand(api, made, WaveStatus.COMPLETED, MemberStatus.COMPLETED, WaveStatus.COMPLETED)
    assert_fault(_act(api, made["id"], "retry"), 409, "conflictingRequest", "nothing to retry")


@pytest.mark.parametrize("body", [{}, {"stop": None}, {"start": None, "cancel": None}])
def test_a_wrong_action_is_refused(api: Api, body: dict[str, Any]) -> None:
    made = _wave(api)
    answer = api.call("POST", f"/waves/{made['id']}/actions", body)
    assert_fault(answer, 400, "badRequest", "start, approve, cancel, retry")
