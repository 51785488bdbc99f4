"""POST …/actions: the body's only key says what to do."""

from typing import Any

from isthmus.control.errors import InvalidInput


def action_of(body: dict[str, Any], *known: str) -> str:
    """Return the action that a body asks for; `InvalidInput` names those that exist."""
    if len(body) != 1 or next(iter(body)) not in known:
        asked = ", ".join(body) or "nothing"
        raise InvalidInput(f"There is no such action: {asked}; the body must hold one of: {', '.join(known)}")
    return next(iter(body))


def wrapped(body: dict[str, Any], key: str) -> object:
    """Return what the body's envelope holds; `InvalidInput` if the envelope is missing."""
    if key not in body:
        raise InvalidInput(f'the body lacks its envelope: {{"{key}": …}}')
    return body[key]
