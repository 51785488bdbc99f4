"""What a list's query string may say: paging, sorting, filters. Wrong values are named in the error.

Source: Manila's `api/common.py` facts: `limit` and `offset` are whole numbers from 0, a page has at most 1,000 items.
"""

import ast
from collections.abc import Collection
from dataclasses import dataclass

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.call import Call

MOST = 1000
TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted. `asked_limit` is None where the call named none."""

    limit: int
    offset: int
    asked_limit: int | None


def page_of(call: Call) -> Page:
    """Return the page that the call asks for; `InvalidInput` for what is no whole number from 0."""
    limit, offset = _whole(call, "limit"), _whole(call, "offset")
    return Page(min(MOST if limit is None else limit, MOST), offset or 0, limit)


def _whole(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        raise InvalidInput(f"{name} param must be an integer") from None
    if number < 0:
        raise InvalidInput(f"{name} param must be positive")
    if number > 2**63 - 1:
        raise InvalidInput(f"{name} param is too large; a list has at most {2**63 - 1} items")
    return number


def boolean(text: object, name: str) -> bool:
    """Return a truth value given as JSON or text; `InvalidInput` names the parameter otherwise."""
    if isinstance(text, bool):
        return text
    word = str(text).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise InvalidInput(f"Invalid value for {name}: {text!r}; it must be true or false.")


def flag(call: Call, name: str, *, default: bool = False) -> bool:
    """Return a boolean parameter of the query."""
    text = call.query.get(name)
    return default if text is None else boolean(text, name)


@dataclass(frozen=True)
class Order:
    """By which key a list is sorted."""

    key: str
    descending: bool = True


def order_of(call: Call, keys: Collection[str], default: Order) -> Order:
    """Return the wanted order; `InvalidInput` names an unknown key or direction. Keys are the API's."""
    key = call.query.get("sort_key") or default.key
    direction = (call.query.get("sort_dir") or ("desc" if default.descending else "asc")).lower()
    if key not in keys:
        raise InvalidInput(f"Wrong sorting key provided - {key!r}. Expected one of: {', '.join(sorted(keys))}")
    if direction not in {"asc", "desc"}:
        raise InvalidInput(f"Wrong sorting direction provided - {direction!r}. Expected 'asc' or 'desc'")
    return Order(key, direction == "desc")


def literal_pairs(text: str) -> dict[str, str] | None:
    """Return keys and values written as Python and JSON write objects (`{'key': 'value'}`); None for anything else."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else None
