"""The buffers that a copy reads into."""

from ctypes import addressof, c_char

from isthmus.migration.disks.slots import make_slots

SIZE = 512 << 10


def test_slots_lie_side_by_side_from_the_border_of_a_huge_page() -> None:
    slots = make_slots(7, SIZE)
    places = [addressof(c_char.from_buffer(slot)) for slot in slots]
    assert [len(slot) for slot in slots] == [SIZE] * 7
    assert [place - places[0] for place in places] == [SIZE * number for number in range(7)]
    assert places[0] % (2 << 20) == 0


def test_what_is_written_into_one_is_in_no_other() -> None:
    slots = make_slots(3, SIZE)
    slots[1][:] = b"\xff" * SIZE
    assert not any(slots[0])
    assert not any(slots[2])
