"""From block status to ranges of whole chunks."""

from hypothesis import given
from hypothesis import strategies as st

from isthmus.migration.disks.extents import CHUNK, Range, chunks_in, interleaved, pieces, ranges, settled_end

SECTOR = 4096
extent = st.tuples(st.integers(1, 40).map(lambda n: n * SECTOR), st.sampled_from([0, 1, 2, 3]))
extents = st.lists(extent, min_size=1, max_size=40)


def flags_at(answer: list[tuple[int, int]], position: int) -> int | None:
    for length, flags in answer:
        if position < length:
            return flags
        position -= length
    return None


def marks(size: int, found: list[Range]) -> list[str]:
    """What each sector is to be: the plain model to compare with."""
    plan = ["skip"] * (size // SECTOR)
    for piece in found:
        for position in range(piece.offset, piece.offset + piece.length, SECTOR):
            assert plan[position // SECTOR] == "skip", "ranges overlap"
            plan[position // SECTOR] = "zero" if piece.zero else "read"
    return plan


@given(extents, st.none() | extents)
def test_every_data_sector_is_read_and_only_zero_chunks_are_zeroed(
    allocation: list[tuple[int, int]], dirty: list[tuple[int, int]] | None
) -> None:
    size = min(sum(length for length, _ in answer) for answer in (allocation, dirty) if answer is not None)
    plan = marks(size, ranges(0, size, allocation, dirty))
    for first in range(0, size, CHUNK):
        sectors = range(first, min(size, first + CHUNK), SECTOR)
        data = any(not (flags_at(allocation, at) or 0) & 2 for at in sectors)
        changed = dirty is None or any((flags_at(dirty, at) or 0) & 1 for at in sectors)
        expected = "skip" if not changed else "read" if data else "zero"
        assert {plan[at // SECTOR] for at in sectors} == {expected}


@given(st.integers(0, 100), st.integers(1, 100), extents)
def test_an_answer_always_leads_on_and_ends_at_a_chunk(start: int, length: int, answer: list[tuple[int, int]]) -> None:
    low, end = start * CHUNK, (start + length) * CHUNK + SECTOR
    reached = settled_end(low, end, answer)
    assert low < reached <= end
    assert reached == end or reached % CHUNK == 0


def test_what_a_short_answer_does_not_describe_counts_as_data_and_dirty() -> None:
    assert ranges(0, CHUNK, [(SECTOR, 3)], [(SECTOR, 0)]) == [Range(0, CHUNK, zero=False)]


def test_without_allocation_everything_is_read() -> None:
    assert ranges(CHUNK, 3 * CHUNK, None, None) == [Range(CHUNK, 2 * CHUNK, zero=False)]


@given(st.integers(0, 1000), st.integers(1, 10 * CHUNK), st.integers(1, 5))
def test_pieces_cover_the_range_once(first: int, length: int, chunks: int) -> None:
    whole = Range(first * CHUNK, length, zero=False)
    cut = list(pieces(whole, chunks * CHUNK))
    assert sum(piece.length for piece in cut) == length
    assert [piece.offset for piece in cut] == [whole.offset + i * chunks * CHUNK for i in range(len(cut))]
    assert chunks_in(length) == -(-length // CHUNK)


@given(st.lists(st.tuples(st.integers(1, 3000), st.booleans()), max_size=12))
def test_reading_by_turns_leaves_nothing_out_and_reads_nothing_twice(lengths: list[tuple[int, bool]]) -> None:
    found, position = [], 0
    for chunks, zero in lengths:
        found.append(Range(position, chunks * CHUNK, zero))
        position += chunks * CHUNK
    parts = list(interleaved(found, 8 * CHUNK))
    expected = [piece for whole in found for piece in ([whole] if whole.zero else pieces(whole, 8 * CHUNK))]
    assert sorted(parts, key=lambda piece: piece.offset) == expected


def test_four_stretches_are_read_by_turns() -> None:
    parts = list(interleaved([Range(0, 4096 * CHUNK, zero=False)], 8 * CHUNK))
    assert [piece.offset >> 20 for piece in parts[:6]] == [0, 32, 64, 96, 0, 32]
    assert len(parts) == 512
