"""What a worker is and keeps to: its identity, its share of the link, its journals."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.migration.providers.contract import Provider
from isthmus.migration.reporting import Level
from isthmus.migration.services.identity import Identity
from isthmus.migration.workflows.attempt import ActivityReport
from isthmus.migration.workflows.calls import EVENTS_OF_AN_ATTEMPT, Notes
from isthmus.migration.workflows.second_leg import joined
from isthmus.migration.workflows.site import Clouds, Site, WorkerSettings

HOLD_ONE = """
import sys, pathlib
from isthmus.migration.services.identity import Identity
found = Identity(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
print(found.id, flush=True)
sys.stdin.read()
"""


def test_an_identity_stays_with_its_staging_directory(tmp_path: Path) -> None:
    first = Identity(tmp_path, tmp_path / "staging")
    second = Identity(tmp_path, tmp_path / "staging")
    elsewhere = Identity(tmp_path, tmp_path / "other")
    assert len({first.id, second.id, elsewhere.id}) == 3
    first.release()
    again = Identity(tmp_path, tmp_path / "staging")
    assert again.id == first.id
    for each in (second, elsewhere, again):
        each.release()


def test_a_killed_process_leaves_its_identity_to_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD_ONE, str(tmp_path), str(tmp_path / "staging")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        held = process.stdout.readline().strip()
        other = Identity(tmp_path, tmp_path / "staging")
        process.kill()
    assert held != other.id
    following = Identity(tmp_path, tmp_path / "staging")
    assert following.id == held
    for each in (other, following):
        each.release()


def test_a_torn_identity_is_made_anew(tmp_path: Path) -> None:
    first = Identity(tmp_path, tmp_path / "staging")
    first.release()
    (file,) = tmp_path.glob("worker-*")
    file.write_text(first.id[:7])
    again = Identity(tmp_path, tmp_path / "staging")
    assert again.id != first.id
    again.release()
    kept = Identity(tmp_path, tmp_path / "staging")
    assert kept.id == again.id
    kept.release()


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=f"{tmp_path}/file.*state_dir"):
        Identity(tmp_path / "file", tmp_path / "staging")


def site(staging: Path, limit: int = 0) -> Site:
    clouds = Clouds(lambda _: Provider, lambda _, __: {})
    return Site(clouds, WorkerSettings(staging, bandwidth_limit=limit), lambda: datetime.now(UTC))


@pytest.mark.parametrize(("own", "share", "limit"), [(0, 0, 0), (7, 0, 7), (0, 5, 5), (7, 5, 5), (3, 5, 3)])
def test_a_copy_keeps_to_its_share_and_to_the_workers_limit(tmp_path: Path, own: int, share: int, limit: int) -> None:
    assert site(tmp_path, own).within(share).settings.bandwidth_limit == limit


def test_a_worker_names_the_transfers_that_it_keeps_journals_of(tmp_path: Path) -> None:
    here = site(tmp_path)
    for name in ("b", "a", "c"):
        here.state_file(name, "x", "d", "g").parent.mkdir()
        here.state_file(name, "x", "d", "g").touch()
    assert set(here.staged_transfers(9)) == {"a", "b", "c"}
    assert len(here.staged_transfers(2)) == 2
    here.forget_state("a", "x")
    assert set(here.staged_transfers(9)) == {"b", "c"}


def test_a_map_of_what_is_stored_begins_as_that_of_the_destination_and_spoils_it_not(tmp_path: Path) -> None:
    here = site(tmp_path)
    known = here.state_file("t", "x", "d", "first")
    known.parent.mkdir()
    known.write_bytes(b"what the destination holds")
    state = here.adopt_state("t", "x", "d", "stored", since="first")
    assert state.read_bytes() == known.read_bytes()
    state.write_bytes(b"what the store holds too")
    assert here.adopt_state("t", "x", "d", "stored", since="first").read_bytes() == b"what the store holds too"
    assert known.read_bytes() == b"what the destination holds"
    here.forget_state("t", "x", but_generations=("first", "stored"))
    assert known.exists()
    assert state.exists()
    here.forget_state("t", "x", but_generations=("stored",))
    assert not known.exists()
    assert state.exists()


def test_both_legs_events_are_told_once_and_in_order() -> None:
    first, second = ActivityReport(1), ActivityReport(2, 52)
    first.event(Level.INFO, "one")
    second.go_on_from(first.notes())
    second.event(Level.INFO, "two")
    told = second.notes()
    assert told.events[0].message == "one"
    assert told.events[-1].message == "two"
    assert len({event.index for event in told.events}) == len(told.events) == 3
    assert [event.index for event in told.events] == sorted(event.index for event in told.events)
    assert told.events[1].index == 51 * EVENTS_OF_AN_ATTEMPT
    assert joined(first.notes(), told).events == told.events
    assert joined(first.notes(), Notes()).events == first.notes().events
