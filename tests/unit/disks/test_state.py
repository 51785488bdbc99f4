"""The state file: what survives what."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.control.errors import Unavailable
from isthmus.migration.disks.extents import CHUNK
from isthmus.migration.disks.state import HASH_BYTES, RECORD_BYTES, REGION, Kind, StateFile, digest

SIZE = 3 * REGION + 5 * CHUNK + 512
HASH = digest(b"x" * CHUNK)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "disks" / "vda.state"


def opened(path: Path, point: str = "first", *, blank: bool = True, size: int = SIZE) -> StateFile:
    return StateFile.open(path, size=size, point=point, blank=blank)


def status(state: StateFile, chunk: int) -> int:
    return state.records(chunk, 1)[HASH_BYTES]


def kind(state: StateFile, chunk: int) -> Kind:
    return Kind(status(state, chunk) & 3)


def copy_chunk(state: StateFile, chunk: int) -> None:
    state.before_write(chunk * CHUNK, CHUNK)
    state.settle(chunk * CHUNK, CHUNK, state.data_record(HASH))


def test_what_was_settled_is_done_after_a_crash_at_the_same_point(path: Path) -> None:
    state = opened(path)
    copy_chunk(state, 1)
    state.close()
    again = opened(path)
    assert again.is_done(status(again, 1))
    assert again.records(1, 1)[:HASH_BYTES] == HASH
    again.close()


@pytest.mark.parametrize("point", ["first", "second"])
def test_what_was_in_flight_is_unknown_at_any_point(path: Path, point: str) -> None:
    state = opened(path)
    copy_chunk(state, 1)
    state.before_write(2 * CHUNK, CHUNK)
    state.close()
    again = opened(path, point)
    assert kind(again, 2) is Kind.UNKNOWN
    assert not again.known_zero(status(again, 2))
    assert kind(again, 1) is Kind.DATA
    again.close()


def test_a_new_point_keeps_hashes_and_is_not_done(path: Path) -> None:
    state = opened(path)
    copy_chunk(state, 1)
    state.finish()
    state.close()
    again = opened(path, "second")
    assert kind(again, 1) is Kind.DATA
    assert not again.is_done(status(again, 1))
    assert again.known_zero(status(again, 7))
    again.close()


def test_an_old_hash_in_a_region_with_writes_in_flight_is_not_believed(path: Path) -> None:
    state = opened(path)
    copy_chunk(state, 1)
    copy_chunk(state, REGION // CHUNK + 1)
    state.finish()
    state.close()
    state = opened(path, "second")
    state.before_write(CHUNK, CHUNK)
    state.close()
    again = opened(path, "third")
    assert kind(again, 1) is Kind.UNKNOWN
    assert kind(again, REGION // CHUNK + 1) is Kind.DATA
    again.close()


def test_a_region_is_closed_once_its_writes_are_settled_and_another_is_opened(path: Path) -> None:
    state = opened(path)
    copy_chunk(state, 1)
    state.before_write(REGION, CHUNK)
    state.close()
    again = opened(path, "second")
    assert again.known_zero(status(again, 5)), "nothing of the first region is in doubt"
    assert kind(again, REGION // CHUNK + 3) is Kind.UNKNOWN
    again.close()


def test_a_chunk_that_is_done_cannot_be_written_again_in_the_same_pass(path: Path) -> None:
    state = opened(path)
    copy_chunk(state, 1)
    with pytest.raises(ValueError, match="done in this pass"):
        state.before_write(0, 2 * CHUNK)
    state.close()
    again = opened(path, "second")
    again.before_write(0, 2 * CHUNK)
    again.close()


def test_a_chunk_to_be_written_again_stays_in_doubt(path: Path) -> None:
    state = opened(path)
    state.before_write(CHUNK, CHUNK)
    state.withdraw(CHUNK, CHUNK)
    state.before_write(CHUNK, CHUNK)
    state.finish()
    state.close()
    again = opened(path)
    assert kind(again, 1) is Kind.UNKNOWN
    again.close()


def test_a_blank_destination_is_believed_only_without_a_state_file(path: Path) -> None:
    opened(path, blank=True).close()
    again = opened(path, "second", blank=False)
    assert again.blank
    again.close()


@pytest.mark.parametrize("damage", ["empty", "short", "long", "header", "size", "garbage"])
def test_a_state_file_that_is_damaged_or_of_another_disk_is_not_trusted(path: Path, damage: str) -> None:
    state = opened(path)
    copy_chunk(state, 1)
    state.finish()
    state.close()
    length, size = path.stat().st_size, SIZE
    if damage == "size":
        size += CHUNK
    elif damage == "garbage":
        path.write_bytes(b"\xff" * 100_000)
    else:
        with path.open("r+b") as file:
            file.truncate({"empty": 0, "short": length - 1, "long": length + 1}.get(damage, length))
            if damage == "header":
                file.seek(20)
                file.write(b"\x77")
    again = opened(path, size=size)
    assert not again.blank, "an earlier attempt may have written"
    assert kind(again, 1) is Kind.UNTOUCHED
    assert not again.known_zero(status(again, 1))
    again.close()


def test_two_copies_of_one_disk_at_once_are_refused(path: Path) -> None:
    state = opened(path)
    with pytest.raises(Unavailable, match="another copy"):
        opened(path)
    state.close()


def test_many_points_later_hashes_are_still_known_and_old_marks_are_not_done(path: Path) -> None:
    state = opened(path, "0")
    copy_chunk(state, 1)
    state.finish()
    state.close()
    for number in range(1, 140):
        state = opened(path, str(number))
        assert kind(state, 1) is Kind.DATA
        assert not state.is_done(status(state, 1))
        assert state.generation > 0
        state.close()


def test_the_file_of_a_huge_disk_is_sparse(path: Path) -> None:
    state = opened(path, size=4 << 40)
    copy_chunk(state, (3 << 40) // CHUNK)
    state.finish()
    state.close()
    assert path.stat().st_size < 1.1 * (1 << 30)
    assert path.stat().st_blocks * 512 < 1 << 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["write", "settle", "crash", "finish", "point"]), st.integers(0, 11)),
        max_size=40,
    )
)
def test_what_is_recorded_is_always_what_the_destination_holds(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """A model: a destination of twelve chunks in three regions, written and killed in any order."""
    folder = tmp_path_factory.mktemp("model")
    chunks = [region * (REGION // CHUNK) + index for region in range(3) for index in range(4)]
    holds: dict[int, bytes] = {}
    flying: dict[int, bytes] = {}
    point = 0
    state = opened(folder / "state", "0")
    for number, (step, which) in enumerate(steps):
        chunk = chunks[which]
        if step == "write" and chunk not in flying and not state.is_done(status(state, chunk)):
            state.before_write(chunk * CHUNK, CHUNK)
            holds[chunk] = flying[chunk] = digest(str(number).encode())
        elif step == "settle" and chunk in flying:
            state.settle(chunk * CHUNK, CHUNK, state.data_record(flying.pop(chunk)))
        elif step in {"crash", "point"}:
            flying.clear()
            state.close()
            point += step == "point"
            state = opened(folder / "state", str(point))
        elif step == "finish":
            state.finish()
        for each in chunks:
            if each in flying:
                continue
            record = state.records(each, 1)
            assert len(record) == RECORD_BYTES
            if record[HASH_BYTES] & 3 == Kind.DATA:
                assert holds[each] == record[:HASH_BYTES]
            assert not (state.known_zero(record[HASH_BYTES]) and each in holds)
    state.close()
    shutil.rmtree(folder)
