"""Regular expressions that callers give: searched by RE2, in a time that grows with the text alone.

Python's `re` may need a time that doubles with each letter, and keeps the interpreter's lock meanwhile: one expression
would stop all threads of its process. RE2 has no back references and no look-around; an expression that needs them is
refused.
"""

from typing import Any

import re2

from isthmus.control.errors import InvalidInput

MOST_CHARACTERS = 255
_COMPILED_BYTES = 1 << 20
"""The room for an expression as RE2 has compiled it; one with too many repetitions inside each other needs more."""


class Pattern:
    """A regular expression, searched in texts that may be hostile too."""

    def __init__(self, expression: str, what: str) -> None:
        """`what` names the expression in errors. Raises `InvalidInput` for what is none, or not one of RE2's."""
        if len(expression) > MOST_CHARACTERS:
            raise InvalidInput(f"{what} has {len(expression)} characters; it must have at most {MOST_CHARACTERS}")
        options = re2.Options()
        options.max_mem = _COMPILED_BYTES
        options.log_errors = False
        try:
            self._compiled: Any = re2.compile(_valid(expression), options)
        except re2.error as error:
            reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else error
            raise InvalidInput(
                f"{what} {expression!r} is not a regular expression of RE2's, which has no back references and no "
                f"look-around ({reason}); correct it"
            ) from None

    def is_in(self, text: str) -> bool:
        """Return whether the expression matches anywhere in the text."""
        return self._compiled.search(_valid(text)) is not None


def names(expression: str | None) -> Pattern:
    """Return the pattern of names that a caller asks for; None is in every name. Raises `InvalidInput`."""
    return Pattern(expression or "", "the name")


def marker(expression: str) -> Pattern:
    """Return the pattern that a boot probe looks for in lines of the console. Raises `InvalidInput`."""
    return Pattern(expression, "the boot probe's marker")


def _valid(text: str) -> str:
    """Return the text with a question mark for each half of a surrogate pair: file names may hold some, UTF-8 not."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
