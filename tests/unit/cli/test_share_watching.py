import io
from typing import Any

import pytest

from isthmus.cli.share_api import SharesApi, access_type
from isthmus.cli.share_watching import StatusLine, gone, settled
from isthmus.control.errors import NotFound, StepFailed


class Told:
    """An adapter whose answers are one message to users."""

    def request(self, url: str, method: str, **_: Any) -> Any:
        assert (method, url.partition("?")[0]) == ("GET", "/messages")
        return self

    status_code, content = 200, b"there"

    def json(self) -> Any:
        return {"messages": [{"user_message": "the pool is full"}]}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def statuses(*found: str) -> Any:
    left = list(found)
    return lambda: {"id": "1", "status": left.pop(0), "progress": "40%"} if left else _nothing()


def _nothing() -> Any:
    raise NotFound("it is gone")


def settle(*found: str, stream: io.StringIO | None = None, wait: Any = settled) -> Any:
    line = StatusLine(stream or io.StringIO())
    return wait(SharesApi(Told()), "share web", statuses(*found), line=line, sleep=lambda _: None)


def test_an_object_is_returned_when_it_is_at_rest() -> None:
    assert settle("creating", "creating", "available")["status"] == "available"


def test_a_terminal_shows_how_far_it_is_and_is_clean_afterwards() -> None:
    terminal = Terminal()
    settle("creating", "available", stream=terminal)
    assert "share web: creating 40%" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_nothing_is_written_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    settle("creating", "available", stream=stream)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("wait", [settled, gone])
def test_an_error_says_what_users_are_told(wait: Any) -> None:
    with pytest.raises(StepFailed, match="share web is in status error_x: the pool is full"):
        settle("creating", "error_x", wait=wait)


def test_what_is_deleted_is_waited_for() -> None:
    assert settle("deleting", "deleting", wait=gone) is None


@pytest.mark.parametrize(
    ("client", "kind"),
    [("10.0.0.1", "ip"), ("10.0.0.0/8", "ip"), ("10.0.0.1/8", "ip"), ("fd00::/64", "ip"), ("alice", "user")],
)
def test_clients_are_addresses_or_users(client: str, kind: str) -> None:
    assert access_type(client) == kind
