"""Whether what an execution of many machines tells the engine stays within what the engine takes."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from temporalio.api.common.v1 import Payload

from isthmus.control.engine import FactsConverter
from isthmus.control.errors import InvalidInput
from isthmus.migration.machine import (
    DestinationDisk,
    Disk,
    DiskMapping,
    Firmware,
    Machine,
    Nic,
    NicMapping,
    PowerState,
)
from isthmus.migration.model import MOST_INSTANCES, ExecutionType, TaskType
from isthmus.migration.planning.steps import part_of, plan
from isthmus.migration.planning.work import EndpointRef, Facts, Replica, Work
from isthmus.migration.store import limits
from isthmus.migration.store.recording import json_of
from isthmus.migration.workflows.calls import Plan, StepCall, StepOutcome

MIB = 1 << 20
BLOB = 2 * MIB
HISTORY = 50 * MIB
MESSAGE = 4 * MIB
"""Temporal's own limits: one value, a workflow's whole history, one message between it and a service."""

UUID = "5a1f6a0e-5d0b-4a5e-9c9f-0c6f3f5a7b11"
CONVERTER = FactsConverter()


def _bytes(value: object) -> int:
    payloads: list[Payload] = CONVERTER.to_payloads([value])
    return payloads[0].ByteSize()


def _names(count: int) -> tuple[str, ...]:
    return tuple(f"production-machine-{number:04}" for number in range(count))


def _work(kind: ExecutionType, count: int, scripts: Mapping[str, object] | None = None) -> Work:
    end = EndpointRef(UUID, "libvirt", {"secret_ref": f"https://secrets.example:9311/v1/secrets/{UUID}"}, ("region-a",))
    return Work(
        execution_id=UUID,
        execution_type=kind,
        transfer_id=UUID,
        origin=end,
        destination=end,
        instances=_names(count),
        trust_id=UUID,
        deployment_id=UUID,
        destination_environment={"boot_probe": {"type": "console", "timeout_seconds": 600}},
        network_map={"production": "production"},
        storage_mappings={"default": "default"},
        user_scripts=scripts or {},
        shutdown_instances=True,
    )


@dataclass(frozen=True)
class Known:
    """What is known of one machine of three disks and two NICs: before an execution, and at its end."""

    replica: Replica
    facts: Facts


def _known() -> Known:
    disks = tuple(Disk(f"vd{each}", 1 << 37, "qcow2", "default", "virtio", True, 1 << 36) for each in "abc")
    nics = tuple(Nic(f"net{each}", f"52:54:00:00:00:0{each}", "production", "virtio", ("10.0.0.1",)) for each in "12")
    machine = Machine(
        UUID, _names(1)[0], 4, 8192, Firmware.EFI, PowerState.RUNNING, machine_type="q35", disks=disks, nics=nics
    )
    numbers = ("bytes_read", "bytes_sent", "bytes_zeroed", "bytes_skipped", "bytes_resumed", "bytes_verified")
    copied = [{"disk_id": each.id, **dict.fromkeys(numbers, 1 << 36), "seconds": 1234.567} for each in disks]
    replica = Replica(
        machine=machine,
        disks=tuple(DestinationDisk(each.id, UUID, each.size_bytes, "qcow2", "default") for each in disks),
        point=UUID,
        copied_by=UUID,
        generation=UUID,
        last_pass={"execution_id": UUID, "point": UUID, "disks": copied, "bytes_read": 1 << 36, "bytes_sent": 1 << 36},
    )
    mappings = tuple(DiskMapping(each, "default") for each in disks)
    return Known(replica, Facts(replica, True, mappings, tuple(NicMapping(each, "production") for each in nics)))


@pytest.mark.parametrize("kind", [ExecutionType.TRANSFER_EXECUTION, ExecutionType.DEPLOYMENT])
def test_an_execution_of_as_many_machines_as_are_allowed_fits_the_engine(kind: ExecutionType) -> None:
    known, work = _known(), _work(kind, MOST_INSTANCES, {"global": {"linux": [{"payload": "x" * 5000}]}})
    limits.check_plan(work.instances, dict.fromkeys(work.instances, json_of(known.replica)), work.user_scripts)
    limits.check_scripts(work.instances, work.user_scripts)
    steps = plan(work)
    whole = Plan(work, steps, dict.fromkeys(work.instances, Facts(known.replica)))
    assert _bytes(whole) < BLOB
    calls = [_bytes(StepCall(step, part_of(work, step), known.facts)) for step in steps]
    outcomes = len(steps) * _bytes(StepOutcome(known.facts, {"disks": [known.replica.last_pass]}))
    assert _bytes(whole) + sum(calls) + outcomes < HISTORY * 0.8
    # All machines may come to the same step at once, and their calls then travel in one message.
    assert max(calls) * MOST_INSTANCES < MESSAGE


def test_a_steps_call_does_not_grow_with_the_other_machines() -> None:
    scripts = {"global": {}, "instances": {name: [{"payload": "x" * 1000}] for name in _names(50)}}
    few, many = (_call(_work(ExecutionType.DEPLOYMENT, count, scripts)) for count in (1, 50))
    assert few == many


def _call(work: Work) -> int:
    (step,) = (each for each in plan(work)[:9] if each.task_type is TaskType.OS_MORPHING)
    return _bytes(StepCall(step, part_of(work, step), Facts()))


def test_a_step_is_told_of_its_own_machine_and_of_scripts_only_if_it_runs_them() -> None:
    first, second = _names(2)
    scripts = {"global": {"linux": "one"}, "instances": {first: "two", second: "three"}}
    work = _work(ExecutionType.DEPLOYMENT, 2, scripts)
    told = {step.task_type: part_of(work, step) for step in plan(work) if step.instance == first}
    assert {part.instances for part in told.values()} == {(first,)}
    own = {"global": {"linux": "one"}, "instances": {first: "two"}}
    assert {kind: part.user_scripts for kind, part in told.items() if part.user_scripts} == {
        TaskType.VALIDATE_DEPLOYMENT_INPUTS: own,
        TaskType.OS_MORPHING: own,
    }


def test_too_many_machines_are_refused_with_their_number_and_a_way_on() -> None:
    limits.check_plan(_names(MOST_INSTANCES), {}, {})
    words = rf"{MOST_INSTANCES + 1} machines .*{MOST_INSTANCES}.*several transfers.*wave"
    with pytest.raises(InvalidInput, match=words):
        limits.check_plan(_names(MOST_INSTANCES + 1), {}, {})


def test_more_scripts_than_the_engine_takes_are_refused() -> None:
    scripts = {"global": {"linux": [{"payload": "x" * 100_000}]}, "instances": {}}
    limits.check_scripts(_names(15), scripts)
    with pytest.raises(InvalidInput, match=r"scripts of 30 machines.*several transfers"):
        limits.check_scripts(_names(30), scripts)


def test_more_knowledge_than_the_engine_takes_is_refused() -> None:
    info = {name: {"machine": "x" * 30_000} for name in _names(100)}
    limits.check_plan(_names(40), info, {})
    with pytest.raises(InvalidInput, match=r"100 machines.*several transfers"):
        limits.check_plan(_names(100), info, {})


def test_one_machine_with_all_that_a_request_can_hold_fits() -> None:
    scripts = {"global": {"linux": [{"payload": "x" * (MIB - 100)}]}, "instances": {}}
    limits.check_plan(_names(1), {}, scripts)
    limits.check_scripts(_names(1), scripts)
