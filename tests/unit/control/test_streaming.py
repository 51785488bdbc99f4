"""The hub of event streams, on real sockets."""

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest

from isthmus.control.errors import Unavailable
from isthmus.control.streaming import MOST_PENDING_BYTES, Hub, Subscription, event


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begin(hub: Hub, feed: Callable[[Sequence[Subscription]], None], owner: str = "p") -> socket.socket:
    ours, theirs = socket.socketpair()
    hub.take(theirs, Subscription(feed, owner, None), b"begun\n")
    return ours


def quiet(subscriptions: Sequence[Subscription]) -> None:
    """Have nothing to tell."""


def test_an_answer_begins_at_once_and_news_follow() -> None:
    def one_more(subscriptions: Sequence[Subscription]) -> None:
        for each in subscriptions:
            each.pending += b"news\n"

    hub = Hub(8, 600)
    with begin(hub, one_more) as reader, reader.makefile("rb") as lines:
        assert [lines.readline() for _ in range(3)] == [b"begun\n", b"news\n", b"news\n"]


def test_a_stream_that_is_over_is_closed_after_its_last_word() -> None:
    def last(subscriptions: Sequence[Subscription]) -> None:
        for each in subscriptions:
            each.pending += b"last\n"
            each.over = True

    hub = Hub(8, 600)
    with begin(hub, last) as reader, reader.makefile("rb") as lines:
        assert lines.read() == b"begun\nlast\n"
    wait(lambda: hub.count == 0)


def test_a_reader_that_does_not_read_is_given_up_and_others_are_not() -> None:
    def flood(subscriptions: Sequence[Subscription]) -> None:
        for each in subscriptions:
            each.pending += bytes(MOST_PENDING_BYTES)

    hub = Hub(8, 600)
    with begin(hub, quiet, "other"), begin(hub, flood):
        assert hub.count == 2
        wait(lambda: hub.count == 1)


def test_a_reader_that_leaves_gives_its_place_back() -> None:
    hub = Hub(8, 600)
    begin(hub, quiet).close()
    wait(lambda: hub.count == 0)


def test_a_feed_that_fails_is_asked_again_and_disturbs_no_other() -> None:
    asked = []

    def fails_first(subscriptions: Sequence[Subscription]) -> None:
        asked.append(len(subscriptions))
        if len(asked) == 1:
            raise OSError("the database is away")
        for each in subscriptions:
            each.pending += b"back\n"

    hub = Hub(8, 600)
    with begin(hub, fails_first) as reader, reader.makefile("rb") as lines:
        assert [lines.readline() for _ in range(2)] == [b"begun\n", b"back\n"]


def test_one_owner_has_a_quarter_of_the_places() -> None:
    hub = Hub(8, 600)
    with begin(hub, quiet), begin(hub, quiet):
        with pytest.raises(Unavailable):
            hub.reserve("p")
        hub.reserve("other")


def test_a_place_is_taken_before_the_reader_sees_the_beginning() -> None:
    """A client may open its next stream the moment the first begins: that one must count already."""

    class Watched(socket.socket):
        counts: ClassVar[list[int]] = []

        def send(self, data: Any, flags: int = 0, /) -> int:
            self.counts.append(hub.count)
            return super().send(data, flags)

    hub = Hub(8, 600)
    ours, theirs = socket.socketpair()
    with ours:
        hub.take(Watched(fileno=theirs.detach()), Subscription(quiet, "p", None), b"begun\n")
        assert Watched.counts == [1]
    wait(lambda: hub.count == 0)


def test_an_event_has_the_standards_form() -> None:
    assert event("task", "17", '{"a": 1}') == b'id: 17\nevent: task\ndata: {"a": 1}\n\n'
