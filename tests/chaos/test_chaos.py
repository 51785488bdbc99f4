"""A short `make chaos`: two kills where they cost most, each in a whole migration between two real clouds."""

import json
from pathlib import Path

from lab.chaos import COPY, EVERYWHERE, PARTS, is_good, planned, run
from lab.chaos_round import Kill


def test_migrations_survive_the_death_of_the_worker_and_of_the_nbd_server(tmp_path: Path) -> None:
    report = tmp_path / "build" / "chaos-report.json"
    facts = run([Kill("worker", "full", COPY, 0.5), Kill("nbd-server", "increment", COPY, 0.3)], 1, report)
    assert is_good(facts, 2), json.dumps(facts, indent=2)
    assert json.loads(report.read_text()) == facts


def test_kills_are_spread_over_parts_and_steps_and_follow_from_the_seed() -> None:
    kills = planned(20, 7)
    assert kills == planned(20, 7) != planned(20, 8)
    assert {kill.part for kill in kills} == set(PARTS)
    assert {(kill.phase, kill.task) for kill in kills} == set(EVERYWHERE)
