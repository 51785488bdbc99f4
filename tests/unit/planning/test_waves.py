"""What a wave does next, as a table of situations."""

import pytest

from isthmus.migration.model import Gate, MemberStatus, WaveStatus
from isthmus.migration.planning.waves import Group, Member, Next, Wave, cycle_in, decide

LETTERS = {
    "p": MemberStatus.PENDING,
    "x": MemberStatus.EXECUTING,
    "d": MemberStatus.DEPLOYING,
    "c": MemberStatus.COMPLETED,
    "e": MemberStatus.ERROR,
    "s": MemberStatus.CANCELED,
}


def _wave(*groups: str, status: WaveStatus = WaveStatus.RUNNING, limit: int = 2, waits: str = "") -> Wave:
    """Return a wave; a group is its members' letters, `?` before it is a manual gate, `!` one that is approved."""
    made = []
    for number, text in enumerate(groups):
        letters = text.lstrip("?!")
        members = tuple(Member(f"{number}{place}", LETTERS[letter]) for place, letter in enumerate(letters))
        gate = Gate.MANUAL if text[0] in "?!" else Gate.AUTO
        made.append(Group(str(number), members, gate, approved=text[0] == "!"))
    return Wave(status, limit, tuple(made), waits)


def _said(decided: Next) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    return decided.status, " ".join(decided.groups.values()), decided.begin, decided.stop


@pytest.mark.parametrize(
    ("wave", "status", "groups", "begin"),
    [
        (_wave("ppp"), "RUNNING", "RUNNING", ("00", "01")),
        (_wave("xpp"), "RUNNING", "RUNNING", ("01",)),
        (_wave("xdp"), "RUNNING", "RUNNING", ()),
        (_wave("xxx", limit=2), "RUNNING", "RUNNING", ()),
        (_wave("ecp"), "RUNNING", "RUNNING", ("02",)),
        (_wave("cc", "pp"), "RUNNING", "COMPLETED RUNNING", ("10", "11")),
        (_wave("cx", "pp"), "RUNNING", "RUNNING", ()),
        (_wave("cc", "cc"), "COMPLETED", "COMPLETED COMPLETED", ()),
        (_wave("ce", "pp"), "ERROR", "ERROR", ()),
        (_wave("cs", "pp"), "ERROR", "ERROR", ()),
        (_wave("ce"), "ERROR", "ERROR", ()),
        (_wave("cc", "?pp"), "AWAITING_APPROVAL", "COMPLETED AWAITING_APPROVAL", ()),
        (_wave("?p"), "AWAITING_APPROVAL", "AWAITING_APPROVAL", ()),
        (_wave("cx", "?pp"), "RUNNING", "RUNNING", ()),
        (_wave("ce", "?pp"), "AWAITING_APPROVAL", "ERROR AWAITING_APPROVAL", ()),
        (_wave("ce", "!pp"), "RUNNING", "ERROR RUNNING", ("10", "11")),
        (_wave("ce", "!cc"), "ERROR", "ERROR COMPLETED", ()),
        (_wave("cp", "!xx", limit=2), "RUNNING", "RUNNING", ()),
        (_wave("ce", "xp", limit=2), "RUNNING", "ERROR RUNNING", ("11",)),
        (_wave("p", status=WaveStatus.SCHEDULED), "RUNNING", "RUNNING", ("00",)),
        (_wave("p", status=WaveStatus.SCHEDULED, waits="later"), "SCHEDULED", "", ()),
    ],
)
def test_what_a_wave_does_next(wave: Wave, status: str, groups: str, begin: tuple[str, ...]) -> None:
    assert _said(decide(wave)) == (status, groups, begin, ())


@pytest.mark.parametrize(
    ("wave", "said"),
    [
        (_wave("cxd", "s", status=WaveStatus.CANCELLING), ("CANCELLING", "", (), ("01", "02"))),
        (_wave("cc", "ss", status=WaveStatus.CANCELLING), ("CANCELED", "COMPLETED CANCELED", (), ())),
        (_wave("ce", "ss", status=WaveStatus.CANCELLING), ("CANCELED", "CANCELED CANCELED", (), ())),
    ],
)
def test_a_cancelled_wave_stops_what_is_in_flight_and_begins_nothing(
    wave: Wave, said: tuple[str, str, tuple[str, ...], tuple[str, ...]]
) -> None:
    assert _said(decide(wave)) == said


@pytest.mark.parametrize(
    ("after", "circle"),
    [
        ({"a": (), "b": ("a",), "c": ("a", "b")}, ()),
        ({"a": ("a",)}, ("a", "a")),
        ({"a": ("b",), "b": ("a",)}, ("a", "b", "a")),
        ({"z": ("a",), "a": ("b",), "b": ("c",), "c": ("a",)}, ("a", "b", "c", "a")),
        ({"a": ("gone",)}, ()),
    ],
)
def test_waves_that_wait_for_each_other_are_found(after: dict[str, tuple[str, ...]], circle: tuple[str, ...]) -> None:
    assert cycle_in(after) == circle


def test_a_very_long_chain_is_no_circle() -> None:
    assert cycle_in({str(number): (str(number + 1),) for number in range(20_000)}) == ()
