"""From what a server says of its blocks to ranges of whole chunks: pure.

The unit of everything in this room is the chunk of 64 KiB: QEMU's default for dirty bitmaps and for qcow2 clusters, so
that an increment sends what has changed and little more, and large enough that BLAKE3 hashes at full speed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

CHUNK = 64 * 1024

# NBD protocol, "base:allocation": bit 0 is a hole, bit 1 reads as zeros. Only bit 1 promises anything on the contents.
READS_AS_ZERO = 0x2
# "qemu:dirty-bitmap:…": bit 0 is dirty.
DIRTY = 0x1

# How a copy reads: so many stretches of so many bytes by turns.
STRETCH = 32 << 20
BY_TURNS = 4

Span = tuple[int, int]
Extents = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a disk, `offset` a multiple of CHUNK, `length` too except at the disk's end; bytes.

    `zero`: the source says that it reads as zeros, it need not be read.
    """

    offset: int
    length: int
    zero: bool


def chunks_in(length: int) -> int:
    """How many chunks hold `length` bytes."""
    return -(-length // CHUNK)


def covered(extents: Extents) -> int:
    """How many bytes a block status answer describes."""
    return sum(length for length, _ in extents)


def spans(extents: Extents, start: int, end: int, mask: int, wanted: int) -> list[Span]:
    """The parts where `flags & mask == wanted`, widened to whole chunks, cut at `end`, sorted and merged."""
    found: list[Span] = []
    position = start
    for length, flags in extents:
        following = position + length
        if flags & mask == wanted and position < end:
            low = position // CHUNK * CHUNK
            high = min(end, chunks_in(following) * CHUNK)
            if found and low <= found[-1][1]:
                found[-1] = (found[-1][0], max(found[-1][1], high))
            else:
                found.append((low, high))
        position = following
    return found


def settled_end(start: int, end: int, *answers: Extents) -> int:
    """Up to where every answer speaks of whole chunks; at least one chunk, so that each question leads on.

    A server may describe less than it was asked for, even less than a chunk. The rest of that chunk counts as data
    and as dirty, which costs a read and is never wrong.
    """
    reach = min([end, *(start + covered(answer) for answer in answers)])
    if reach == end:
        return end
    return min(end, max(reach // CHUNK * CHUNK, start + CHUNK))


def ranges(start: int, end: int, allocation: Extents | None, dirty: Extents | None) -> list[Range]:
    """What to do between `start` and `end` (chunk borders): ranges to read and ranges that are zero, in order.

    Without `allocation` all is data; without `dirty` all is wanted, with it only dirty chunks are in the answer.
    """
    data = (
        [(start, end)]
        if allocation is None
        else spans(_padded(allocation, end - start, 0), start, end, READS_AS_ZERO, 0)
    )
    wanted = [(start, end)] if dirty is None else spans(_padded(dirty, end - start, DIRTY), start, end, DIRTY, DIRTY)
    return [piece for low, high in wanted for piece in _divided(low, high, data)]


def pieces(whole: Range, size: int) -> Iterator[Range]:
    """`whole` cut into parts of at most `size` bytes, a multiple of CHUNK."""
    for offset in range(whole.offset, whole.offset + whole.length, size):
        yield Range(offset, min(size, whole.offset + whole.length - offset), whole.zero)


def interleaved(found: Sequence[Range], size: int) -> Iterator[Range]:
    """The ranges, data cut into parts of `size` bytes, in the order in which a copy reads them.

    Four stretches of the disk are read by turns. Where a cold file is read straight on, Linux reads far ahead
    (read_ahead_kb), and by the time that a server copies a page it has left the processor's cache: measured in
    docs/disks.md.
    """
    stretches: dict[int, list[Range]] = {}
    for whole in found:
        for piece in [whole] if whole.zero else pieces(whole, size):
            stretches.setdefault(piece.offset // STRETCH, []).append(piece)
    in_order = [stretches[number] for number in sorted(stretches)]
    for first in range(0, len(in_order), BY_TURNS):
        for turn in zip_longest(*in_order[first : first + BY_TURNS]):
            yield from (piece for piece in turn if piece is not None)


def _padded(extents: Extents, length: int, flags: int) -> Extents:
    missing = length - covered(extents)
    return [*extents, (missing, flags)] if missing > 0 else extents


def _divided(low: int, high: int, data: Sequence[Span]) -> Iterator[Range]:
    position = low
    for first, last in data[_first_reaching(data, low) :]:
        if first >= high:
            break
        if first > position:
            yield Range(position, first - position, zero=True)
        position = max(position, first)
        upto = min(last, high)
        if upto > position:
            yield Range(position, upto - position, zero=False)
            position = upto
    if position < high:
        yield Range(position, high - position, zero=True)


def _first_reaching(data: Sequence[Span], low: int) -> int:
    """The index of the first span that ends after `low`; spans are sorted and apart."""
    left, right = 0, len(data)
    while left < right:
        middle = (left + right) // 2
        if data[middle][1] > low:
            right = middle
        else:
            left = middle + 1
    return left
