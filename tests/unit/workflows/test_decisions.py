"""What workflows and deployment steps decide without touching anything."""

from datetime import UTC, datetime

import pytest
from temporalio.exceptions import ApplicationError

from isthmus.control.engine import as_failure, from_failure
from isthmus.control.errors import Cancelled, InvalidInput, IsthmusError, NotFound, StepFailed, Unavailable
from isthmus.migration.machine import ProbeType
from isthmus.migration.model import ExecutionStatus, ScriptPhase
from isthmus.migration.planning.steps import keeps_partial
from isthmus.migration.planning.work import EndpointRef, Work
from isthmus.migration.providers.contract import Provider
from isthmus.migration.reporting import Level
from isthmus.migration.workflows.attempt import ActivityReport
from isthmus.migration.workflows.calls import EVENTS_OF_AN_ATTEMPT
from isthmus.migration.workflows.deployment_steps import boot_probe, downtime, luks_keys, user_scripts
from isthmus.migration.workflows.executions import outcome_of
from isthmus.migration.workflows.site import Clouds, writing_owner


@pytest.mark.parametrize(
    ("errors", "status"),
    [
        ([None, None], ExecutionStatus.COMPLETED),
        ([None, StepFailed("x")], ExecutionStatus.ERROR),
        ([Cancelled("x"), None], ExecutionStatus.CANCELED),
        ([Cancelled("x"), StepFailed("x")], ExecutionStatus.ERROR),
    ],
)
def test_how_an_execution_ends(errors: list[IsthmusError | None], status: ExecutionStatus) -> None:
    assert outcome_of(errors) is status


@pytest.mark.parametrize("error", [NotFound("gone"), Unavailable("away"), StepFailed("no")])
def test_errors_cross_the_engine_as_themselves(error: IsthmusError) -> None:
    failure = as_failure(error)
    assert failure.non_retryable is not error.retryable
    back = from_failure(failure)
    assert type(back) is type(error)
    assert back.message == error.message


def test_the_innermost_failure_decides() -> None:
    outer = ApplicationError("outer", type="step-failed")
    outer.__cause__ = ApplicationError("inner", type="not-found")
    assert isinstance(from_failure(outer), NotFound)


def test_scripts_of_the_os_type_come_before_the_machines_own() -> None:
    scripts = {
        "global": {"linux": "one", "windows": "never"},
        "instances": {"m": [{"phase": "replica_first_boot", "payload": "two"}]},
    }
    found = user_scripts(scripts, "m", "linux")
    assert [(each.phase, each.payload) for each in found] == [
        (ScriptPhase.POST_OS_MOUNT, "one"),
        (ScriptPhase.FIRST_BOOT, "two"),
    ]


def test_an_unknown_phase_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InvalidInput, match="osmorphing_pre_os_mount"):
        user_scripts({"instances": {"m": [{"phase": "later", "payload": "x"}]}}, "m", "linux")


def test_a_probe_comes_from_the_environment() -> None:
    assert boot_probe({}).type is ProbeType.NONE
    assert boot_probe({"boot_probe": {"type": "tcp", "port": 80}}).port == 80
    with pytest.raises(InvalidInput, match="type"):
        boot_probe({"boot_probe": {"type": "hope"}})


def test_downtime_counts_from_the_end_of_the_source() -> None:
    passed = datetime(2030, 1, 1, 0, 1, tzinfo=UTC)
    assert downtime("2030-01-01T00:00:00+00:00", passed) == 60
    assert downtime(None, passed) is None


def test_a_later_attempt_numbers_its_events_after_the_first() -> None:
    report = ActivityReport(2)
    report.event(Level.INFO, "x")
    assert [event.index for event in report.notes().events] == [EVENTS_OF_AN_ATTEMPT, EVENTS_OF_AN_ATTEMPT + 1]


def test_a_stopped_report_raises_the_first_reason() -> None:
    report = ActivityReport(1)
    report.check()
    report.stop(Cancelled("first"))
    report.stop(Unavailable("second"))
    with pytest.raises(Cancelled, match="first"):
        report.check()


def test_a_writers_name_fits_a_socket_path_for_any_instance() -> None:
    name = writing_owner("0" * 36, "any/thing at all é" * 20)
    assert len(name) < 50
    assert name.isascii()


@pytest.mark.parametrize(
    ("error", "asked", "copied", "kept"),
    [
        (Unavailable("away"), False, True, True),
        (Unavailable("away"), True, False, False),
        (StepFailed("full"), False, True, False),
        (StepFailed("full"), True, True, True),
        (Cancelled("stop"), False, True, False),
        (Cancelled("stop"), True, True, True),
    ],
)
def test_whether_a_first_copy_that_stopped_is_kept(error: IsthmusError, asked: bool, copied: bool, kept: bool) -> None:
    assert keeps_partial(error, asked=asked, copied=copied) is kept


def _work(reference: str | None) -> Work:
    end = EndpointRef("e", "files")
    return Work("x", "deployment", "t", end, end, ("m",), trust_id="trust", luks_secret_ref=reference)


def test_luks_keys_are_read_with_the_users_trust_and_only_if_there_are_any() -> None:
    asked: list[tuple[str | None, str]] = []

    def resolve(trust_id: str | None, reference: str) -> dict[str, list[str]]:
        asked.append((trust_id, reference))
        return {"keys": ["swordfish", "marlin"]}

    clouds = Clouds(lambda _: Provider, resolve)
    assert luks_keys(_work(None), clouds) == ()
    assert asked == []
    assert luks_keys(_work("ref"), clouds) == ("swordfish", "marlin")
    assert asked == [("trust", "ref")]


@pytest.mark.parametrize("content", [{}, {"keys": []}, {"keys": "swordfish"}, {"keys": [7]}, {"keys": [""]}])
def test_a_secret_without_luks_keys_is_named_and_never_shown(content: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="ref does not hold LUKS passphrases") as raised:
        luks_keys(_work("ref"), Clouds(lambda _: Provider, lambda _trust, _ref: content))
    assert "swordfish" not in raised.value.message
