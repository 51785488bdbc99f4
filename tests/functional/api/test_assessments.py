"""Assessments and plans through the API; the engine's part is in the tests of workflows."""

from typing import Any

import pytest
from tests.functional.api.parts import Api, assert_fault

from isthmus.control.database import utc_now
from isthmus.migration.machine import Disk, Firmware, Machine, PowerState
from isthmus.migration.model import TaskStatus
from isthmus.migration.planning.concerns import Arrival, Observed, Wishes
from isthmus.migration.tables import TaskRow
from isthmus.migration.workflows.assessment_calls import AssessmentEnd, Batch
from isthmus.migration.workflows.assessment_control import AssessmentActivities

GIB = 1 << 30


def begin(api: Api, *, project: str = "p1", **wanted: Any) -> Any:
    if "endpoint_id" not in wanted:
        wanted["endpoint_id"] = api.endpoint("from", project=project)["id"]
    return api.call("POST", "/assessments", {"assessment": wanted}, project=project)


def machine(name: str, **facts: Any) -> Machine:
    disk = Disk("vda", 10 * GIB, "qcow2", "pool", "virtio", can_track_changes=True, allocated_bytes=GIB)
    return Machine(name, name, 1, 512, Firmware.BIOS, PowerState.RUNNING, disks=(disk,), guest_agent=True, **facts)


def carry_out(api: Api, assessment_id: str, machines: list[Machine], arrival: Arrival | None = None) -> None:
    """Do what the workflow does, without an engine."""
    control = AssessmentActivities(api.database, utc_now)
    outline = control.outline_assessment(assessment_id)
    assert outline is not None
    observed = tuple(Observed(each.id, each, None, True) for each in machines)
    assert control.next_batch(assessment_id) == [each.id for each in machines]
    control.record_batch(Batch(assessment_id, outline.wishes, observed, arrival))
    control.end_assessment(AssessmentEnd(assessment_id))


def test_one_is_accepted_and_the_engine_is_told(api: Api) -> None:
    to = api.endpoint("to")["id"]
    answer = begin(api, instances=["web"], destination_endpoint_id=to, network_map={"lan": "net"})
    made = answer.json["assessment"]
    assert (made["status"], made["progress"], made["result"]) == ("RUNNING", {"done": 0, "total": None}, None)
    assert (made["instances"], made["network_map"], made["clone_disks"]) == (["web"], {"lan": "net"}, True)
    assert api.outbox() == [("start", "Assessment", f"assessment-{made['id']}")]
    assert api.call("GET", f"/assessments/{made['id']}").json == answer.json
    assert api.call("GET", "/assessments?status=RUNNING").json["assessments"] == [made]
    assert api.call("GET", "/assessments?status=ERROR").json["assessments"] == []


def test_what_was_found_is_shown_and_can_be_paged(api: Api) -> None:
    made = begin(api, instances=["a", "b", "c"]).json["assessment"]
    path = f"/assessments/{made['id']}"
    carry_out(api, made["id"], [machine("a"), machine("b", tpm=True), machine("c", snapshots=2)])
    shown = api.call("GET", path).json["assessment"]
    assert (shown["status"], shown["progress"]) == ("COMPLETED", {"done": 3, "total": 3})
    counted = {"assessed": 3, "critical": 0, "warning": 2, "information": 0, "clear": 1}
    assert shown["result"]["machines"] == counted
    assert shown["result"]["bytes_to_move"] == 3 * GIB
    assert shown["result"]["rates"]["copy"] == {"value": 100 * 2**20, "basis": "default", "samples": 0}
    found = api.call("GET", f"{path}/machines").json["machines"]
    assert [(each["name"], each["severity"]) for each in found] == [("a", None), ("b", "warning"), ("c", "warning")]
    assert [each["code"] for each in found[1]["concerns"]] == ["TPM"]
    assert found[0]["seconds"] == 10.2
    behind = api.call("GET", f"{path}/machines?marker=a&limit=1").json["machines"]
    assert [each["name"] for each in behind] == ["b"]
    grave = api.call("GET", f"{path}/machines?severity=warning").json["machines"]
    assert [each["name"] for each in grave] == ["b", "c"]


def test_machines_that_fit_one_by_one_and_not_together_are_told_of(api: Api) -> None:
    from isthmus.migration.machine import Nic, StorageBackend

    to = api.endpoint("to")["id"]
    made = begin(api, instances=["a", "b"], destination_endpoint_id=to).json["assessment"]
    nic = Nic("n", "52:54:00:00:00:01", "lan")
    arrival = Arrival(storage=(StorageBackend("disks", "disks", 15 * GIB),), default_storage="disks")
    carry_out(api, made["id"], [machine("a", nics=(nic,)), machine("b", nics=(nic,))], arrival)
    result = api.call("GET", f"/assessments/{made['id']}").json["assessment"]["result"]
    assert [each["code"] for each in result["concerns"]] == ["TOO_LITTLE_SPACE_TOGETHER", "DUPLICATE_MAC"]


def test_earlier_copies_give_the_rates(api: Api) -> None:
    transfer = api.transfer()
    run = api.execution(transfer["id"])
    disks = [{"disk_id": "vda", "reads": "allocation"}]
    for index, (sent, seconds, reads) in enumerate(((64 << 20, 2.0, "allocation"), (16 << 20, 1.0, "compare"))):
        result = {
            "bytes_sent": sent,
            "bytes_read": 8 * sent,
            "seconds": seconds,
            "disks": [{**disks[0], "reads": reads}],
        }
        with api.database.transaction() as session:
            session.add(
                TaskRow(
                    id=f"t{index}",
                    execution_id=run["id"],
                    instance="web",
                    status=TaskStatus.COMPLETED,
                    task_type="REPLICATE_DISKS",
                    index=index,
                    result=result,
                    created_at=utc_now(),
                    updated_at=utc_now(),
                )
            )
    ends = {
        "endpoint_id": transfer["origin_endpoint_id"],
        "destination_endpoint_id": transfer["destination_endpoint_id"],
    }
    made = begin(api, instances=["a"], **ends).json["assessment"]
    carry_out(api, made["id"], [machine("a")], Arrival())
    rates = api.call("GET", f"/assessments/{made['id']}").json["assessment"]["result"]["rates"]
    assert rates["copy"] == {"value": 32 * 2**20, "basis": "measured", "samples": 1}
    assert rates["scan"] == {"value": 128 * 2**20, "basis": "measured", "samples": 1}
    assert rates["changed"] == {"value": 0.25, "basis": "measured", "samples": 1}
    assert rates["rest"]["basis"] == "default"


def test_a_running_one_is_stopped_when_it_is_deleted(api: Api) -> None:
    made = begin(api).json["assessment"]
    assert api.call("DELETE", f"/assessments/{made['id']}").status_code == 204
    assert api.outbox()[-1] == ("cancel", "", f"assessment-{made['id']}")
    assert_fault(api.call("GET", f"/assessments/{made['id']}"), 404, "itemNotFound", made["id"])
    control = AssessmentActivities(api.database, utc_now)
    assert control.outline_assessment(made["id"]) is None
    control.record_batch(Batch(made["id"], Wishes(), (Observed("a"),)))
    control.end_assessment(AssessmentEnd(made["id"]))


def test_another_project_has_none_of_it(api: Api) -> None:
    made = begin(api).json["assessment"]
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/machines")):
        answer = api.call(method, f"/assessments/{made['id']}{path}", project="p2")
        assert_fault(answer, 404, "itemNotFound")
    assert api.call("GET", "/assessments", project="p2").json["assessments"] == []
    assert_fault(begin(api, project="p2", endpoint_id=made["endpoint_id"]), 404, "itemNotFound", made["endpoint_id"])


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"endpoint_id": 7}, "endpoint_id"),
        ({"instances": []}, "instances"),
        ({"instances": ["a", "a"]}, "twice"),
        ({"instances": ["../x"]}, "part of a path"),
        ({"instances": ["x" * 1025]}, "instances"),
        ({"network_map": {"lan": 3}}, "network_map"),
        ({"network_map": {"lan": "net"}}, "destination_endpoint_id"),
        ({"source_environment": {"nonsense": 1}}, "source_environment"),
        ({"storage_mappings": {"wrong": 1}}, "storage_mappings"),
        ({"clone_disks": "no"}, "clone_disks"),
    ],
)
def test_a_body_that_does_not_fit_is_refused(api: Api, change: dict[str, Any], word: str) -> None:
    assert_fault(begin(api, **change), 400, "badRequest", word)
    assert api.outbox() == []


def test_bad_questions_are_refused(api: Api) -> None:
    made = begin(api).json["assessment"]
    endpoint = made["endpoint_id"]
    assert_fault(begin(api, endpoint_id=endpoint, destination_endpoint_id=endpoint), 400, "badRequest", "the same")
    assert_fault(api.call("POST", "/assessments", {}), 400, "badRequest", "envelope")
    path = f"/assessments/{made['id']}/machines"
    assert_fault(api.call("GET", f"{path}?severity=bad"), 400, "badRequest", "critical")
    assert_fault(api.call("GET", f"{path}?limit=-1"), 400, "badRequest", "limit")
    assert_fault(api.call("GET", f"{path}?marker=none"), 404, "itemNotFound", "marker")
    assert_fault(api.call("GET", "/assessments?status=NONE"), 400, "badRequest", "RUNNING")


def test_a_plan_changes_nothing_and_is_of_the_next_execution(api: Api) -> None:
    transfer = api.transfer(instances=["web", "db"])
    before = (api.call("GET", f"/transfers/{transfer['id']}?include_task_info=1").json, api.outbox())
    wanted = {"shutdown_instances": True, "auto_deploy": True}
    plan = api.call("POST", f"/transfers/{transfer['id']}/actions", {"plan": wanted}).json["plan"]
    assert [each["type"] for each in plan["executions"]] == ["transfer_execution", "deployment"]
    assert plan["instances"] == [{"instance": name, "replica_since": None} for name in ("web", "db")]
    steps = plan["executions"][0]["steps"]
    assert [step["index"] for step in steps] == list(range(len(steps)))
    assert {step["task_type"] for step in steps} >= {"SHUTDOWN_INSTANCE", "REPLICATE_DISKS"}
    assert {step["region"] for step in steps} == {"default"}
    assert steps[1]["depends_on"] == [0]
    assert (api.call("GET", f"/transfers/{transfer['id']}?include_task_info=1").json, api.outbox()) == before


def test_a_plan_without_wishes_is_of_a_pass_alone(api: Api) -> None:
    transfer = api.transfer()
    plan = api.call("POST", f"/transfers/{transfer['id']}/actions", {"plan": None}).json["plan"]
    (only,) = plan["executions"]
    assert "SHUTDOWN_INSTANCE" not in {step["task_type"] for step in only["steps"]}


def test_a_transfer_that_is_not_made_can_be_planned(api: Api) -> None:
    body = api.transfer_body()
    before = api.call("GET", "/transfers").json
    plan = api.call("POST", "/plans", {"transfer": body, "execution": {"auto_deploy": True}}).json["plan"]
    made = api.call("POST", "/transfers", {"transfer": body}).json["transfer"]
    action = {"plan": {"auto_deploy": True}}
    assert before == {"transfers": []}
    assert plan == api.call("POST", f"/transfers/{made['id']}/actions", action).json["plan"]


def test_a_plan_is_refused_as_the_transfer_would_be(api: Api) -> None:
    body = api.transfer_body()
    same = {**body, "destination_endpoint_id": body["origin_endpoint_id"]}
    assert_fault(api.call("POST", "/plans", {"transfer": same}), 400, "badRequest", "cannot be the same")
    assert_fault(api.call("POST", "/plans", {}), 400, "badRequest", "envelope")
    assert_fault(api.call("POST", "/plans", {"transfer": body, "execution": 3}), 400, "badRequest", "execution")
    gone = {**body, "origin_endpoint_id": "gone"}
    assert_fault(api.call("POST", "/plans", {"transfer": gone}), 404, "itemNotFound", "gone")
    assert_fault(api.call("POST", "/plans", {"transfer": body}, project="p2"), 404, "itemNotFound")
    transfer = api.transfer()
    for body, word in (({"plan": {"auto_deploy": 1}}, "auto_deploy"), ({"fly": None}, "plan")):
        assert_fault(api.call("POST", f"/transfers/{transfer['id']}/actions", body), 400, "badRequest", word)
