"""What a hostile guest says on its console is made harmless."""

import pytest

from isthmus.migration.providers.console_text import LINE_CHARACTERS, plain_line


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("login: ", "login:"),
        ("\x1b[31;1mred\x1b[0m", "red"),
        ("\x1b]0;a title\x07text", "text"),
        ("\x1b]52;c;c3RlYWw=\x1b\\text", "text"),
        ("\x1bcreset", "reset"),
        ("bell\x07 and \x00 nul\x9b31m", "bell and  nul31m"),
        ("right\u202eto left", "rightto left"),
        ("a\tb", "a b"),
    ],
)
def test_control_sequences_are_dropped(said: str, kept: str) -> None:
    assert plain_line(said) == kept


def test_lines_are_cut() -> None:
    assert len(plain_line("x" * 10_000)) == LINE_CHARACTERS
