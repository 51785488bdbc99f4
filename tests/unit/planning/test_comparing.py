"""What the hashes of two sides say."""

from isthmus.migration.planning.comparing import SideHashes, compare

MIB = 1 << 20


def _side(hashes: str, changed: tuple[int, ...] = (), size: int | None = None) -> SideHashes:
    return SideHashes("vda", len(hashes) * MIB if size is None else size, MIB, tuple(hashes), changed, tracked=True)


def test_equal_sides_are_equal() -> None:
    found = compare(_side("abc"), "abc")
    assert (found.equal_bytes, found.changed, found.different) == (3 * MIB, (), ())


def test_neighbours_that_differ_are_one_range_and_the_last_one_ends_with_the_disk() -> None:
    found = compare(_side("abcde", size=4 * MIB + 512), "aXXdX")
    assert found.different == ((MIB, 2 * MIB), (4 * MIB, 512))
    assert found.equal_bytes == 2 * MIB


def test_what_the_source_has_changed_is_not_compared() -> None:
    found = compare(_side("abc", changed=(1,)), ("a", "", "c"))
    assert (found.changed, found.different) == (((MIB, MIB),), ())
    assert found.equal_bytes == 2 * MIB
