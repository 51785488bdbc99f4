"""The hub of event streams, on real sockets."""

import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from gunicorn.workers.gthread import ThreadWorker

from isthmus.control.errors import Unavailable
from isthmus.control.streaming import (
    HUB,
    MOST_PENDING_BYTES,
    SUBSCRIPTION,
    Hub,
    StreamingWorker,
    Subscription,
    detaching,
    event,
)


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begin(hub: Hub, feed: Callable[[Sequence[Subscription]], None], owner: str = "p") -> socket.socket:
    ours, theirs = socket.socketpair()
    hub.take(theirs, Subscription(feed, hub.reserve(owner), None), b"begun\n")
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


def test_simultaneous_requests_get_no_more_places_than_there_are() -> None:
    """A place is taken by the request that asks, not when its answer has begun."""
    hub = Hub(8, 600)
    first, _ = hub.reserve("p"), hub.reserve("p")
    with pytest.raises(Unavailable):
        hub.reserve("p")
    first.give_back()
    first.give_back()
    hub.reserve("p")
    assert hub.count == 2


def failing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ[SUBSCRIPTION] = Subscription(quiet, environ[HUB].reserve("p"), None)
    raise OSError("a layer outside of the application fails")


def refusing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ[SUBSCRIPTION] = Subscription(quiet, environ[HUB].reserve("p"), None)
    start_response("503 Service Unavailable", [])
    return []


def test_a_request_that_comes_to_nothing_gives_its_place_back() -> None:
    hub = Hub(8, 600)
    with pytest.raises(OSError, match="fails"):
        detaching(failing, hub)({}, lambda *_: None)
    assert list(detaching(refusing, hub)({}, lambda *_: None)) == []
    assert hub.count == 0


def test_a_worker_tells_its_parent_that_it_lives_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    told, now = [], [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ThreadWorker, "notify", lambda _: told.append(now[0]))
    worker = StreamingWorker.__new__(StreamingWorker)
    for now[0] in (1000.0, 1000.0, 1000.9, 1001.0, 1001.5, 1002.5):
        worker.notify()
    assert told == [1000.0, 1001.0, 1002.5]


def test_an_event_has_the_standards_form() -> None:
    assert event("task", "17", '{"a": 1}') == b'id: 17\nevent: task\ndata: {"a": 1}\n\n'
