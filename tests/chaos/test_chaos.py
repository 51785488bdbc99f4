"""A short `make chaos`: two kills where they cost most, each in a whole migration between two real clouds.

And two migrations that cannot succeed: killed on the way as well, they must end rolled back.
"""

import json
from pathlib import Path

import pytest
from lab.chaos import COPY, EVERYWHERE, HARD_ROUNDS, PARTS, HardRound, is_good, planned, run, summary
from lab.chaos_ground import NBD_SERVER
from lab.chaos_many import PARTS as MANY_PARTS
from lab.chaos_many import WEIGHTS, Blow, planned_blows
from lab.chaos_round import Kill, Verdict
from lab.chaos_setbacks import FullStorage, NoSystem


def test_migrations_survive_the_death_of_the_worker_and_of_the_nbd_server(tmp_path: Path) -> None:
    report = tmp_path / "build" / "chaos-report.json"
    facts = run([Kill("worker", "full", COPY, 0.5), Kill("nbd-server", "increment", COPY, 0.3)], 1, report)
    assert is_good(facts, 2), json.dumps(facts, indent=2)
    assert json.loads(report.read_text()) == facts
    assert facts["histories"] >= 2


def test_what_no_retry_mends_ends_rolled_back_though_it_is_killed_on_the_way(tmp_path: Path) -> None:
    hard: list[HardRound] = [
        (FullStorage, Kill("conductor", "full", "DELETE_TRANSFER_DISKS")),
        (NoSystem, Kill("worker", "deployment", "OS_MORPHING")),
    ]
    facts = run([], 1, tmp_path / "build" / "chaos-report.json", hard=hard)
    assert is_good(facts, 2), json.dumps(facts, indent=2)
    assert facts["rolled_back"] == 2


@pytest.mark.parametrize("outcome", ["completed", "stuck"])
def test_a_round_that_had_to_be_rolled_back_and_was_not_is_not_good(outcome: str) -> None:
    verdict = Verdict("worker", killed=True, outcome=outcome, must_end="rolled back")
    assert not is_good(summary([verdict], 1), 1)
    verdict.outcome = "rolled back"
    assert is_good(summary([verdict], 1), 1)


def test_a_workflow_that_nobody_else_could_take_up_is_not_good() -> None:
    facts = summary([Verdict("worker", killed=True, outcome="completed")], 1)
    assert is_good(facts, 1)
    assert not is_good(facts | {"histories_not_followed": ["Deployment execution-1: it asked for something else"]}, 1)


def test_kills_are_spread_over_parts_and_steps_and_follow_from_the_seed() -> None:
    number = 20 - len(HARD_ROUNDS)
    kills = planned(number, 7)
    assert kills == planned(number, 7) != planned(number, 8)
    assert {kill.part for kill in kills} == set(PARTS)
    assert {(kill.phase, kill.task) for kill in kills} == set(EVERYWHERE)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_small_machines_of_each_kind_survive_a_death(tmp_path: Path) -> None:
    blows = [
        Blow("execution", "worker", 0.5),
        Blow("deployment", "conductor", 0.3),
        Blow("cancel", "worker", 0.4),
        Blow("failback", NBD_SERVER, 0.3),
        Blow("wave", "conductor", 0.5),
        Blow("schedule", "conductor", 0.4),
    ]
    facts = run([], 1, tmp_path / "build" / "chaos-report.json", blows=blows)
    assert is_good(facts, len(blows)), json.dumps(facts, indent=2)
    assert set(facts["kinds"]) == set(WEIGHTS)


def test_blows_are_of_every_kind_and_part_and_follow_from_the_seed() -> None:
    blows = planned_blows(85, 7)
    assert blows == planned_blows(85, 7) != planned_blows(85, 8)
    assert {blow.kind for blow in blows} == set(WEIGHTS)
    for kind in ("execution", "deployment", "cancel"):
        parts = {blow.part for blow in blows if blow.kind == kind}
        assert parts == set(MANY_PARTS) - ({NBD_SERVER} if kind == "deployment" else set())
    assert {blow.kind for blow in planned_blows(5, 7, "wave")} == {"wave"}


def test_wrong_bytes_and_a_failure_without_a_kill_make_a_run_bad() -> None:
    fine = Verdict("worker in wave", kind="wave", killed=True, outcome="completed", recovery_seconds=4.0)
    unharmed = Verdict("nothing in wave", kind="wave", outcome="completed")
    facts = summary([unharmed, fine], 1)
    assert is_good(facts, 1)
    assert facts["kinds"]["wave"]["rounds"] == facts["kills"] == 1
    assert facts["recovery_seconds_by_part"] == {"worker": {"median": 4.0, "max": 4.0}}
    unharmed.outcome = "stuck"
    assert not is_good(summary([unharmed, fine], 1), 1)
    unharmed.outcome, fine.wrong_bytes = "completed", 1
    assert not is_good(summary([unharmed, fine], 1), 1)
