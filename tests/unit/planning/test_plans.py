"""Plans: which steps, in which order, where, and what undoes what."""

from dataclasses import replace

import pytest

from isthmus.migration.model import ExecutionType, TaskType
from isthmus.migration.planning.steps import When, applies_after_failure, plan, plan_forget
from isthmus.migration.planning.work import EndpointRef, Facts, Replica, Work

T = TaskType


def work(kind: ExecutionType, **wishes: object) -> Work:
    asked = Work(
        execution_id="e",
        execution_type=kind,
        transfer_id="t",
        deployment_id="d",
        origin=EndpointRef("1", "a", mapped_regions=("north",)),
        destination=EndpointRef("2", "b"),
        instances=("x",),
    )
    return replace(asked, **wishes)  # type: ignore[arg-type]


def types(asked: Work) -> list[TaskType]:
    return [step.task_type for step in plan(asked)]


def test_planning_twice_gives_the_same_ids() -> None:
    asked = work(ExecutionType.TRANSFER_EXECUTION)
    assert plan(asked) == plan(asked)


def test_steps_of_an_instance_form_a_chain_and_instances_are_apart() -> None:
    steps = plan(work(ExecutionType.TRANSFER_EXECUTION, instances=("x", "y")))
    assert [step.index for step in steps] == list(range(len(steps)))
    for instance in ("x", "y"):
        own = [step for step in steps if step.instance == instance]
        assert [step.depends_on for step in own] == [(), *((step.id,) for step in own[:-1])]


def test_the_copy_runs_beside_the_source_and_disks_are_made_beside_the_destination() -> None:
    queues = {step.task_type: step.queue for step in plan(work(ExecutionType.TRANSFER_EXECUTION))}
    assert queues[T.REPLICATE_DISKS] == "isthmus-worker-north"
    assert queues[T.DEPLOY_TRANSFER_DISKS] == "isthmus-worker-default"


def test_risky_checks_come_before_the_copy() -> None:
    order = types(work(ExecutionType.TRANSFER_EXECUTION, shutdown_instances=True))
    assert order.index(T.VALIDATE_TRANSFER_DESTINATION_INPUTS) < order.index(T.DEPLOY_TRANSFER_DISKS)
    assert order.index(T.DEPLOY_TRANSFER_TARGET_RESOURCES) < order.index(T.SHUTDOWN_INSTANCE)
    assert order.index(T.SHUTDOWN_INSTANCE) < order.index(T.REPLICATE_DISKS)


@pytest.mark.parametrize("stops", [False, True])
def test_only_an_execution_that_stops_the_source_can_start_it(stops: bool) -> None:
    order = types(work(ExecutionType.TRANSFER_EXECUTION, shutdown_instances=stops))
    assert (T.SHUTDOWN_INSTANCE in order) is (T.START_SOURCE_INSTANCE in order) is stops


def test_a_deployment_keeps_the_replica_by_clones_or_by_snapshots() -> None:
    cloned = types(work(ExecutionType.DEPLOYMENT, clone_disks=True))
    owned = types(work(ExecutionType.DEPLOYMENT, clone_disks=False))
    assert T.DEPLOY_INSTANCE_RESOURCES in cloned
    assert T.CREATE_TRANSFER_DISK_SNAPSHOTS not in cloned
    assert owned.index(T.CREATE_TRANSFER_DISK_SNAPSHOTS) < owned.index(T.DEPLOY_OS_MORPHING_RESOURCES)
    assert owned.index(T.VERIFY_INSTANCE_BOOT) < owned.index(T.DELETE_TRANSFER_TARGET_DISK_SNAPSHOTS)
    assert T.RESTORE_TRANSFER_DISK_SNAPSHOTS in owned


def test_morphing_can_be_left_out() -> None:
    order = types(work(ExecutionType.DEPLOYMENT, skip_os_morphing=True))
    assert not [each for each in order if "MORPHING" in each]


def test_all_that_is_opened_is_given_back() -> None:
    for kind in (ExecutionType.TRANSFER_EXECUTION, ExecutionType.DEPLOYMENT):
        steps = plan(work(kind, shutdown_instances=True, clone_disks=False))
        undone = {step.undoes for step in steps if step.on_error}
        begins = {T.DEPLOY_TRANSFER_DISKS, T.DEPLOY_TRANSFER_TARGET_RESOURCES, T.REPLICATE_DISKS, T.SHUTDOWN_INSTANCE}
        begins |= {T.CREATE_TRANSFER_DISK_SNAPSHOTS, T.DEPLOY_OS_MORPHING_RESOURCES}
        assert {step.task_type for step in steps if step.task_type in begins} <= undone


def test_a_cancel_never_stops_what_gives_back() -> None:
    for step in plan(work(ExecutionType.DEPLOYMENT, clone_disks=False)):
        if step.when is not When.FORWARD or step.task_type is T.DELETE_TRANSFER_TARGET_DISK_SNAPSHOTS:
            assert not step.is_interruptible


def test_deleting_forgets_the_source_before_it_deletes_disks() -> None:
    deletion = [T.DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS, T.DELETE_TRANSFER_DISKS]
    assert types(work(ExecutionType.TRANSFER_DISKS_DELETE)) == deletion


def test_forgetting_a_transfer_keeps_its_disks() -> None:
    steps = plan_forget(work(ExecutionType.TRANSFER_EXECUTION))
    assert T.DELETE_TRANSFER_DISKS not in {step.task_type for step in steps}


def undo(asked: Work, begun: set[TaskType], done: set[TaskType], facts: Facts) -> list[TaskType]:
    return [step.task_type for step in plan(asked) if applies_after_failure(step, begun, done, facts)]


def test_undo_touches_only_what_was_begun() -> None:
    asked = work(ExecutionType.TRANSFER_EXECUTION, shutdown_instances=True)
    assert undo(asked, {T.VALIDATE_TRANSFER_SOURCE_INPUTS}, set(), Facts()) == []
    assert undo(asked, {T.DEPLOY_TRANSFER_DISKS}, set(), Facts()) == [T.DELETE_TRANSFER_DISKS]


def test_a_replica_with_a_complete_pass_survives_a_failure() -> None:
    asked = work(ExecutionType.TRANSFER_EXECUTION)
    begun = {T.DEPLOY_TRANSFER_DISKS, T.DEPLOY_TRANSFER_TARGET_RESOURCES, T.REPLICATE_DISKS}
    facts = Facts(replica=Replica(point="p"))
    assert undo(asked, begun, set(), facts) == [
        T.DELETE_TRANSFER_SOURCE_RESOURCES,
        T.DELETE_TRANSFER_TARGET_RESOURCES,
    ]


@pytest.mark.parametrize("ran", [False, True])
def test_a_source_is_started_again_only_if_it_ran(ran: bool) -> None:
    asked = work(ExecutionType.TRANSFER_EXECUTION, shutdown_instances=True)
    chosen = undo(asked, {T.SHUTDOWN_INSTANCE}, set(), Facts(source_ran=ran, replica=Replica(point="p")))
    assert (T.START_SOURCE_INSTANCE in chosen) is ran


@pytest.mark.parametrize(
    ("stopped_by", "deployed", "starts"), [(None, False, False), ("e", False, True), ("e", True, False)]
)
def test_a_failed_deployment_starts_a_source_that_we_stopped_and_nothing_replaces(
    stopped_by: str | None, deployed: bool, starts: bool
) -> None:
    facts = Facts(replica=Replica(stopped_by=stopped_by, deployed=deployed))
    chosen = undo(work(ExecutionType.DEPLOYMENT), {T.VALIDATE_DEPLOYMENT_INPUTS}, set(), facts)
    assert (chosen == [T.START_SOURCE_INSTANCE]) is starts


def test_a_machine_that_lives_is_never_undone() -> None:
    asked = work(ExecutionType.DEPLOYMENT, clone_disks=False)
    begun = set(types(asked))
    assert undo(asked, begun, {T.VERIFY_INSTANCE_BOOT, T.DELETE_OS_MORPHING_RESOURCES}, Facts()) == []
