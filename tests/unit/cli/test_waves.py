"""What people type for a wave, and how its state is told."""

from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.waves import follow, groups_of, plan_in, summary
from isthmus.control.errors import InvalidInput, Unavailable


def _wave(status: str, **counts: int) -> dict[str, Any]:
    return {"status": status, "counts": {"COMPLETED": 0, "ERROR": 0, **counts}, "message": None}


def test_groups_are_read_in_their_order() -> None:
    assert groups_of(["first=a, b", "second=c"], ["second"]) == [
        {"name": "first", "gate": "auto", "members": [{"transfer_id": "a"}, {"transfer_id": "b"}]},
        {"name": "second", "gate": "manual", "members": [{"transfer_id": "c"}]},
    ]


@pytest.mark.parametrize(("named", "manual"), [(["first"], []), (["first="], []), (["=a"], []), (["first=a"], ["x"])])
def test_groups_that_make_no_sense_are_named(named: list[str], manual: list[str]) -> None:
    with pytest.raises(InvalidInput, match=r"first|=a|x"):
        groups_of(named, manual)


@pytest.mark.parametrize("text", ["name: night\n", '{"wave": {"name": "night"}}'])
def test_a_plan_is_yaml_or_json_with_or_without_its_envelope(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan"
    file.write_text(text)
    assert plan_in(str(file)) == {"name": "night"}


@pytest.mark.parametrize("text", ["[1, 2]", "{", "a: b: c"])
def test_a_plan_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan"
    file.write_text(text)
    with pytest.raises(InvalidInput, match="the plan"):
        plan_in(str(file))
    with pytest.raises(InvalidInput, match="cannot be read"):
        plan_in(str(tmp_path / "gone"))


@pytest.mark.parametrize("last", ["COMPLETED", "ERROR", "CANCELED", "AWAITING_APPROVAL"])
def test_a_wave_is_followed_to_its_end_or_gate_and_each_change_is_said_once(last: str) -> None:
    states: list[dict[str, Any] | Unavailable] = [
        _wave("RUNNING"),
        _wave("RUNNING"),
        Unavailable("away"),
        _wave("RUNNING", COMPLETED=1),
        _wave(last, COMPLETED=2),
    ]
    said: list[str] = []

    def fetch() -> dict[str, Any]:
        state = states.pop(0)
        if isinstance(state, Unavailable):
            raise state
        return state

    assert follow(fetch, said.append, sleep=lambda _: None)["status"] == last
    assert said == ["RUNNING ()", "RUNNING (1 COMPLETED)", f"{last} (2 COMPLETED)"]


def test_an_api_that_stays_away_ends_the_watching() -> None:
    def fetch() -> dict[str, Any]:
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        follow(fetch, lambda _: None, sleep=lambda _: None)


def test_a_message_is_part_of_the_summary() -> None:
    assert summary({**_wave("SCHEDULED"), "message": "begins soon"}) == "SCHEDULED (): begins soon"
