"""Names and descriptions in a body: text of at most 255 characters, or nothing."""

from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import InvalidInput

LONGEST = 255


def text_of(entity: Mapping[str, Any], *names: str) -> str | None:
    """Return the first of these fields that the entity has; `InvalidInput` for what is no short text."""
    for name in names:
        if name in entity:
            return _checked(entity[name], name)
    return None


def changed_texts(entity: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str | None]:
    """Return the texts that the entity has, by the columns that `names` gives for its fields."""
    return {column: _checked(entity[name], name) for name, column in names.items() if name in entity}


def _checked(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"Invalid input received: {name} must be a text.")
    if value is not None and len(value) > LONGEST:
        raise InvalidInput(f"Invalid input received: {name} can only be {LONGEST} characters long.")
    return value
