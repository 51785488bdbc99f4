"""The audit record: of each call that changes something, with its outcome, for administrators alone."""

import json
import logging
from collections.abc import Callable
from typing import Any

import falcon.testing
import pytest
from sqlalchemy import select, text
from tests.functional.api.parts import Api

from isthmus.control.audit import audited
from isthmus.control.audit_records import AuditRow

SERVICES = {"/v1/": "migration", "/share/v2/": "shares"}


@pytest.fixture
def seen(api: Api) -> Api:
    """Return the API with the audit layer where `isthmus.serving` has it, seen from outside."""
    return Api(api.database, api.vault, api.engine, audited(api.app, api.database, SERVICES, "p1"))


def records(api: Api) -> list[dict[str, Any]]:
    with api.database.transaction() as session:
        found = session.scalars(select(AuditRow).order_by(AuditRow.created_at)).all()
        return [{column.name: getattr(row, column.name) for column in AuditRow.__table__.columns} for row in found]


def test_what_was_made_changed_and_deleted_is_told(seen: Api) -> None:
    made = seen.endpoint("east")
    seen.call("PUT", f"/endpoints/{made['id']}", {"endpoint": {"name": "west"}})
    seen.call("DELETE", f"/endpoints/{made['id']}")
    found = records(seen)
    assert [(row["action"], row["resource"], row["object_id"]) for row in found] == [
        (action, "endpoints", made["id"]) for action in ("create", "update", "delete")
    ]
    assert {(row["outcome"], row["user_id"], row["project_id"], row["service"]) for row in found} == {
        ("success", "noauth", "p1", "migration")
    }
    assert [row["status"] for row in found] == [200, 200, 204]
    assert all(row["ended_at"] >= row["created_at"] for row in found)


def test_an_action_is_named_by_its_word_and_its_object(seen: Api) -> None:
    transfer = seen.transfer()
    run = seen.execution(transfer["id"])
    seen.call("POST", f"/transfers/{transfer['id']}/executions/{run['id']}/actions", {"cancel": {"force": True}})
    made, cancelled = records(seen)[-2:]
    assert (made["action"], made["resource"], made["object_id"]) == ("create", "transfers/executions", run["id"])
    assert (cancelled["action"], cancelled["resource"], cancelled["object_id"]) == (
        "cancel",
        "transfers/executions",
        run["id"],
    )


def test_a_refusal_is_told_with_its_reason_and_looking_is_not(seen: Api) -> None:
    seen.call("GET", "/endpoints")
    seen.call("DELETE", "/endpoints/none")
    (only,) = records(seen)
    assert (only["outcome"], only["status"], only["object_id"]) == ("failure", 404, "none")
    assert "there is no endpoint none" in only["reason"]


def test_no_secret_is_in_a_record(seen: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "isthmus.audit")
    seen.endpoint("east", connection_info={"uri": "qemu:///east", "password": "swordfish"})
    seen.call(
        "POST", "/endpoints", {"endpoint": {"name": "x", "type": "libvirt", "connection_info": {"p": "swordfish"}}}
    )
    assert "swordfish" not in json.dumps(records(seen), default=str) + caplog.text
    lines = [json.loads(line.message) for line in caplog.records if line.name == "isthmus.audit"]
    assert [line["outcome"] for line in lines] == ["success", "failure"]


def test_what_cannot_be_recorded_is_not_done(seen: Api) -> None:
    with seen.database.transaction() as session:
        session.execute(text("ALTER TABLE audit_records RENAME TO away"))
    answer = seen.call("POST", "/regions", {"region": {"name": "north"}})
    assert (answer.status_code, answer.json["error"]["fault"]) == (503, "serviceUnavailable")
    assert seen.call("GET", "/regions").json["regions"] == []


def test_a_process_that_dies_leaves_a_pending_record(api: Api) -> None:
    def dies(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise KeyboardInterrupt

    client = falcon.testing.TestClient(audited(dies, api.database, SERVICES, "p1"))
    with pytest.raises(KeyboardInterrupt):
        client.simulate_post("/share/v2/shares")
    (only,) = records(api)
    assert (only["outcome"], only["service"], only["resource"], only["status"]) == ("pending", "shares", "shares", None)


def test_who_is_nobody_is_not_recorded(api: Api) -> None:
    client = falcon.testing.TestClient(audited(api.app, api.database, SERVICES, None))
    client.simulate_post("/v1/p1/endpoints", json={})
    assert records(api) == []
    headers = {"X-Identity-Status": "Confirmed", "X-User-Id": "u", "X-Project-Id": "p1", "X-Roles": "member,reader"}
    client.simulate_delete("/v1/p1/endpoints/e%00\xe4", headers=headers)
    (only,) = records(api)
    assert (only["user_id"], only["project_id"], only["roles"]) == ("u", "p1", "member,reader")
    assert only["object_id"] == "e�ä"


def test_administrators_can_ask_for_it(seen: Api) -> None:
    first = seen.endpoint("east")
    seen.call("DELETE", "/endpoints/none")
    seen.endpoint("west", project="p2")
    found = seen.call("GET", "/audit").json["audit"]
    assert [row["outcome"] for row in found] == ["success", "failure", "success"]
    assert found[-1]["object_id"] == first["id"]
    page = seen.call("GET", f"/audit?limit=1&marker={found[0]['id']}").json["audit"]
    assert page == found[1:2]
    assert seen.call("GET", "/audit?outcome=failure&project_id=p1").json["audit"] == found[1:2]
    assert seen.call("GET", "/audit?object_id=other").json["audit"] == []
    assert seen.call("GET", "/audit?marker=none").status_code == 404
    assert seen.call("GET", "/audit?limit=0").status_code == 400
