"""What a guest says on its console, as bounded lines of plain text: it is hostile input."""

import re

TAIL_LINES, LINE_CHARACTERS = 50, 300
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI sequences: colours, cursor
    r"|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)"  # OSC: titles
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]"
)


def plain_line(line: str) -> str:
    """Return a console line without control sequences, cut to `LINE_CHARACTERS`."""
    return _CONTROL.sub("", line).replace("\t", " ")[:LINE_CHARACTERS].rstrip()


def plain_lines(text: str) -> list[str]:
    """Return the lines of a console's text that hold anything."""
    return [line for line in map(plain_line, re.split(r"[\r\n]+", text)) if line]
