"""Signed reports through the API, saved and checked by the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from tests.functional.api.parts import Api, assert_fault

from isthmus.cli.main import main
from isthmus.cli.signed_reports import written
from isthmus.control.database import utc_now
from isthmus.control.signing import verify
from isthmus.migration.model import ExecutionStatus, TaskStatus
from isthmus.migration.store import recording
from isthmus.migration.tables import DeploymentRow, TaskRow


def _deployed(api: Api, instance: str = "web") -> str:
    """Return a deployment that has ended after one pass."""
    made = api.transfer(instances=[instance])
    run = api.execution(made["id"])
    with api.database.transaction() as session:
        session.add(
            TaskRow(
                id="t1",
                execution_id=run["id"],
                instance=instance,
                status=TaskStatus.COMPLETED,
                task_type="REPLICATE_DISKS",
                index=0,
                result={"bytes_sent": 4096},
                created_at=utc_now(),
            )
        )
        recording.save_info(session, made["id"], instance, {"machine": {"name": instance}}, utc_now())
    api.finish(made["id"])
    body = {"deployment": {"transfer_id": made["id"]}}
    deployment = str(api.call("POST", "/deployments", body).json["deployment"]["id"])
    assert_fault(api.call("GET", f"/deployments/{deployment}/report"), 409, "conflictingRequest", "RUNNING")
    with api.database.transaction() as session:
        recording.save_result(session, deployment, instance, {"downtime_seconds": 7.5}, utc_now())
        session.execute(
            update(DeploymentRow)
            .where(DeploymentRow.id == deployment)
            .values(last_execution_status=ExecutionStatus.COMPLETED)
        )
    return deployment


def _report(api: Api, deployment: str) -> dict[str, Any]:
    (report,) = api.call("GET", f"/deployments/{deployment}/report").json["reports"]
    whole: dict[str, Any] = report
    return whole


def test_a_report_tells_what_was_done_and_its_signature_fits(api: Api) -> None:
    report = _report(api, _deployed(api))
    key = api.call("GET", "/report-key").json["report_key"]
    assert (report["key_id"], report["algorithm"]) == (key["key_id"], "Ed25519")
    verify(key["public_key"], report["document"].encode(), report["signature"])
    told = json.loads(report["document"])
    assert told["format"] == "isthmus-machine-report-1"
    assert [each["result"]["bytes_sent"] for each in told["passes"]] == [4096]
    assert told["result"] == {"downtime_seconds": 7.5}
    assert told["source_machine"] == {"name": "web"}
    assert told["transfer"]["origin"]["name"] == "origin"
    assert told["deployment"]["status"] == "COMPLETED"


def test_another_projects_reports_do_not_exist(api: Api) -> None:
    deployment = _deployed(api)
    assert_fault(api.call("GET", f"/deployments/{deployment}/report", project="p2"), 404, "itemNotFound", deployment)


def test_a_saved_report_is_checked_and_a_changed_one_is_refused(
    api: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = _report(api, _deployed(api, "rack 1/wéb"))
    file = written(tmp_path, report["instance"], report["document"], report["signature"])
    key = tmp_path / "key.pem"
    key.write_text(api.call("GET", "/report-key").json["report_key"]["public_key"])
    words = ["report", "verify", str(file), "--key", str(key)]
    assert main(words) == 0
    assert report["key_id"] in capsys.readouterr().out
    file.write_bytes(file.read_bytes().replace(b"7.5", b"0.5"))
    assert main(words) == 1
    assert "does not fit" in capsys.readouterr().err
    assert main(["report", "verify", str(tmp_path / "gone"), "--key", str(key)]) == 1
    assert "cannot be read" in capsys.readouterr().err
