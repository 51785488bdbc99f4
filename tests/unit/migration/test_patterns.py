"""Regular expressions of callers: what they find, and that none takes long."""

import threading
import time
from itertools import pairwise

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.migration.patterns import Pattern, names


@pytest.mark.parametrize(
    ("expression", "text", "found"),
    [
        ("", "web", True),
        ("web", "my web 1", True),
        ("^web", "my web", False),
        (r"(?i)^WEB-\d+$", "web-12", True),
        ("ü.$", "fün", True),
        ("a|b", "cb", True),
        ("^.$", "\udcff", True),
    ],
)
def test_an_expression_is_searched_anywhere(expression: str, text: str, found: bool) -> None:
    assert names(expression).is_in(text) is found


def test_no_expression_is_in_every_name() -> None:
    assert names(None).is_in("web")


@pytest.mark.parametrize("evil", ["(a|a)+$", "(a+)+$", "(a*)*b", "(.*a){20}$", "(?:a?){100}a{100}$"])
def test_an_evil_expression_takes_no_time_and_stops_nobody(evil: str) -> None:
    beats, over = [time.monotonic()], threading.Event()

    def beat() -> None:
        while not over.wait(0.01):
            beats.append(time.monotonic())

    other = threading.Thread(target=beat)
    other.start()
    try:
        started = time.monotonic()
        found = names(evil).is_in("a" * 60 + "!")
        seconds = time.monotonic() - started
    finally:
        over.set()
        other.join()
    beats.append(time.monotonic())
    assert not found
    assert seconds < 2
    assert max(later - earlier for earlier, later in pairwise(beats)) < 2


@pytest.mark.parametrize(
    "wrong", ["(", "*", r"(a)\1", "a(?=b)", "(?<!a)b", "a" * 256, "((((a{30}){30}){30}){30})", "x{5000}"]
)
def test_what_cannot_be_searched_in_linear_time_is_refused_with_its_name(wrong: str) -> None:
    with pytest.raises(InvalidInput, match="the boot probe's marker"):
        Pattern(wrong, "the boot probe's marker")
