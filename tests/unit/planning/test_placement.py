"""On which worker a disk step runs."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.migration.planning.placement import (
    Held,
    Limits,
    Never,
    Place,
    Use,
    UseKind,
    Wait,
    Wish,
    Worker,
    choose,
    distance,
    keeper,
    serve,
)

GIB = 1 << 30
FREE = Limits()


def worker(name: str, *regions: str, **facts: Any) -> Worker:
    given_facts = {"slots": 2, "staging_total": 10 * GIB, "staging_free": 10 * GIB, **facts}
    return Worker(
        name, f"host-{name}", regions or ("default",), given_facts.pop("platforms", ("a", "b")), **given_facts
    )


def wish(*near: str, **facts: Any) -> Wish:
    return Wish(near or ("default",), "a", **facts)


def held(name: str, **facts: Any) -> Held:
    return Held(name, **facts)


def chosen(asked: Wish, *workers: Worker, at_work: tuple[Held, ...] = (), limits: Limits = FREE) -> str:
    outcome = choose(asked, workers, at_work, limits)
    assert isinstance(outcome, Place), outcome
    return outcome.worker.id


def waits(asked: Wish, *workers: Worker, at_work: tuple[Held, ...] = (), limits: Limits = FREE) -> str:
    outcome = choose(asked, workers, at_work, limits)
    assert isinstance(outcome, Wait), outcome
    return outcome.reason


def test_the_nearest_wins_and_both_clouds_count() -> None:
    asked = wish("north", "middle", far=("south",), far_platform="b")
    both, near, second = worker("x", "north", "south"), worker("b", "north"), worker("c", "middle", "south")
    assert [distance(asked, each) for each in (both, near, second)] == [0, 1, 1]
    assert chosen(asked, near, second, both) == "x"
    assert chosen(asked, worker("d", "south"), second) == "c"


def test_of_equally_near_ones_the_least_loaded_wins() -> None:
    one, two = worker("1"), worker("2")
    assert chosen(wish(), one, two) == "1"
    assert chosen(wish(), one, two, at_work=(held("1"),)) == "2"
    assert chosen(wish(), replace(one, running=1), two) == "2"
    assert chosen(wish(), replace(one, slots=8), two, at_work=(held("1"), held("2"))) == "1"


def test_the_keeper_of_the_hash_maps_wins_unless_it_has_just_failed() -> None:
    one, two = worker("1"), worker("2")
    assert chosen(wish(home="2"), one, two) == "2"
    assert chosen(wish(home="2", avoid="2"), one, two) == "1"
    assert chosen(wish(home="2", avoid="2"), two) == "2"
    assert chosen(wish(home="2"), one, replace(two, up=False)) == "1"


def test_what_only_tidies_up_goes_to_the_keeper_if_it_is_there() -> None:
    one, two = worker("1"), worker("2")
    assert keeper(wish(home="2", reserve=False), [one, two]) is two
    assert keeper(wish(home="2", reserve=False), [one, replace(two, up=False)]) is None
    assert keeper(wish(home="2", avoid="2", reserve=False), [one, two]) is None
    assert keeper(wish("north", home="2", reserve=False), [one, two]) is None


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"regions": ("south",)}, ("no worker serves region default", "[worker] queues")),
        ({"platforms": ("b",)}, ("providers a",)),
        ({"enabled": False}, ("disabled", "service update")),
        ({"up": False}, ("silent", "x on host-x")),
        ({"staging_free": 7}, ("8 bytes must be staged", "at most 7", "staging_dir")),
        ({"link_bandwidth": 10, "copy_limit": 8}, ("links", "copy_bandwidth")),
    ],
)
def test_who_leaves_none_is_named_with_what_to_do(facts: dict[str, Any], words: tuple[str, ...]) -> None:
    only = replace(worker("x"), **facts)
    reason = waits(wish(staging_bytes=8), only, at_work=(held("x", bandwidth=5),))
    assert all(word in reason for word in words), reason


def test_full_slots_and_full_limits_are_waited_for() -> None:
    at_work = (held("x", uses=(Use(UseKind.LINK, "a -> b"),)), held("x"))
    assert "slots are taken" in waits(wish(), worker("x"), at_work=at_work)
    limits = Limits(link=1)
    asked = wish(uses=(Use(UseKind.LINK, "a -> b"),))
    reason = waits(asked, worker("y"), at_work=at_work, limits=limits)
    assert "link a -> b has 1 disk steps" in reason
    assert "link_copies" in reason
    assert chosen(wish(uses=(Use(UseKind.LINK, "b -> a"),)), worker("y"), at_work=at_work, limits=limits) == "y"


def test_what_is_reserved_counts_before_it_is_written() -> None:
    asked = wish(staging_bytes=6 * GIB)
    assert "reserved" in waits(asked, worker("x"), at_work=(held("x", staging_bytes=5 * GIB),))
    assert chosen(asked, worker("x"), at_work=(held("x", staging_bytes=4 * GIB),)) == "x"


def test_what_no_worker_could_ever_hold_is_refused() -> None:
    outcome = choose(wish(staging_bytes=11 * GIB), [worker("x", up=False), worker("y")], (), FREE)
    assert isinstance(outcome, Never)
    assert "larger" in outcome.reason


def room(size: int = GIB) -> Wish:
    return Wish(("hub",), "", staging_bytes=size, stores=True, shown_at="task")


def test_what_only_stores_needs_no_provider_and_takes_no_slot_of_steps() -> None:
    hub = worker("hub", "hub", slots=1, platforms=())
    assert chosen(room(), hub, at_work=(held("hub"),)) == "hub"
    assert chosen(Wish(("hub",), "a"), worker("hub", "hub", slots=1), at_work=(held("hub", stores=True),)) == "hub"
    outcome = choose(room(), [hub], [held("hub", stores=True)], FREE)
    assert isinstance(outcome, Wait)
    assert "slots" in outcome.reason


def test_room_that_is_missing_is_told_with_worker_and_bytes() -> None:
    hub = worker("hub", "hub", staging_free=4 * GIB)
    waits = choose(room(3 * GIB), [hub], [held("hub", staging_bytes=2 * GIB, stores=True)], FREE)
    assert isinstance(waits, Wait)
    assert all(each in waits.reason for each in (str(3 * GIB), str(2 * GIB), "hub on host-hub", "staging_dir"))
    never = choose(room(11 * GIB), [hub], [], FREE)
    assert isinstance(never, Never)
    assert all(each in never.reason for each in (str(11 * GIB), str(10 * GIB), "hub on host-hub"))


@pytest.mark.parametrize(
    ("limits", "facts", "share"),
    [
        (Limits(), {"link_bandwidth": 100}, 0),
        (Limits(copy_bandwidth=40), {}, 0),
        (Limits(copy_bandwidth=40), {"link_bandwidth": 100}, 40),
        (Limits(copy_bandwidth=40), {"link_bandwidth": 100, "copy_limit": 30}, 30),
        (Limits(), {"link_bandwidth": 100, "copy_limit": 30}, 30),
        (Limits(copy_bandwidth=400), {"link_bandwidth": 100}, 100),
    ],
)
def test_a_copys_share_of_the_link(limits: Limits, facts: dict[str, int], share: int) -> None:
    outcome = choose(wish(), [worker("x", **facts)], (), limits)
    assert outcome == Place(worker("x", **facts), share)


def test_a_provider_of_the_far_cloud_is_wanted_only_beside_it() -> None:
    asked = wish("north", far=("south",), far_platform="c")
    assert chosen(asked, worker("x", "north")) == "x"
    assert "a and c" in waits(asked, worker("x", "north", "south"))


def test_the_line_is_served_in_order_and_nobody_is_held_up_by_who_cannot_be_served() -> None:
    line = {"first": wish(), "far": wish("south"), "second": wish(), "third": wish()}
    found = serve(line, [worker("x")], (), FREE)
    assert [type(found[each]) for each in line] == [Place, Wait, Place, Wait]


uses = st.builds(Use, st.sampled_from(UseKind), st.sampled_from(["p", "q"]))
wishes = st.builds(
    Wish,
    near=st.lists(st.sampled_from("nms"), min_size=1, max_size=2, unique=True).map(tuple),
    near_platform=st.sampled_from("ab"),
    far=st.lists(st.sampled_from("nms"), max_size=2, unique=True).map(tuple),
    far_platform=st.sampled_from([None, "a", "b"]),
    staging_bytes=st.integers(0, 20),
    uses=st.lists(uses, max_size=3, unique=True).map(tuple),
    home=st.sampled_from([None, "0", "1", "9"]),
    avoid=st.sampled_from([None, "0", "1"]),
)


@st.composite
def several_workers(draw: st.DrawFn) -> list[Worker]:
    made = []
    for number in range(draw(st.integers(0, 4))):
        total = draw(st.integers(0, 30))
        made.append(
            Worker(
                str(number),
                "h",
                tuple(draw(st.sets(st.sampled_from("nms"), min_size=1))),
                tuple(draw(st.sets(st.sampled_from("ab"), min_size=1))),
                draw(st.integers(1, 3)),
                draw(st.integers(0, 5)),
                total,
                draw(st.integers(0, total)),
                draw(st.integers(0, 20)),
                draw(st.integers(0, 10)),
                draw(st.booleans()),
                draw(st.booleans()),
            )
        )
    return made


numbers = st.integers(0, 3)


@given(
    st.lists(wishes, max_size=12), several_workers(), st.builds(Limits, numbers, numbers, numbers, st.integers(0, 9))
)
def test_nothing_is_ever_given_away_twice(asked: list[Wish], workers: list[Worker], limits: Limits) -> None:
    line = numbered(asked)
    found = serve(line, workers, (), limits)
    assert list(found) == list(line)
    placed = [(line[key], outcome) for key, outcome in found.items() if isinstance(outcome, Place)]
    for each in workers:
        own = [(want, place) for want, place in placed if place.worker is each]
        assert len(own) <= each.slots
        assert sum(want.staging_bytes for want, _ in own) <= each.staging_free
        assert sum(place.bandwidth for _, place in own) <= each.link_bandwidth
        assert all(each.up and each.enabled and set(want.near) & set(each.regions) for want, _ in own)
        assert all(want.near_platform in each.platforms for want, _ in own)
    for use, count in Counter(use for want, _ in placed for use in want.uses).items():
        assert not limits.of(use.kind) or count <= limits.of(use.kind)


@given(wishes, several_workers())
def test_a_worker_that_could_take_it_is_never_overlooked(asked: Wish, workers: list[Worker]) -> None:
    outcome = choose(asked, workers, (), FREE)
    could = [
        each
        for each in workers
        if each.up
        and each.enabled
        and set(asked.near) & set(each.regions)
        and set(each.platforms) == {"a", "b"}
        and each.staging_free >= asked.staging_bytes
    ]
    assert isinstance(outcome, Place) or not could
    if isinstance(outcome, Place) and asked.home is None and asked.avoid is None:
        assert all(distance(asked, outcome.worker) <= distance(asked, each) for each in could)


@given(wishes, several_workers(), st.randoms())
def test_the_order_of_the_workers_does_not_matter(asked: Wish, workers: list[Worker], random: Any) -> None:
    shuffled = list(workers)
    random.shuffle(shuffled)
    here, there = choose(asked, workers, (), FREE), choose(asked, shuffled, (), FREE)
    assert type(here) is type(there)
    if isinstance(here, Place):
        assert here == there


@given(
    st.lists(wishes, max_size=12), several_workers(), st.builds(Limits, numbers, numbers, numbers, st.integers(0, 9))
)
def test_the_line_gets_what_each_would_get_in_its_turn(
    asked: list[Wish], workers: list[Worker], limits: Limits
) -> None:
    taken: list[Held] = []
    for wanted, outcome in zip(asked, serve(numbered(asked), workers, (), limits).values(), strict=True):
        assert outcome == choose(wanted, workers, taken, limits)
        if isinstance(outcome, Place):
            taken.append(Held(outcome.worker.id, wanted.staging_bytes, outcome.bandwidth, wanted.uses))


def numbered(asked: list[Wish]) -> dict[str, Wish]:
    return {str(number): each for number, each in enumerate(asked)}
