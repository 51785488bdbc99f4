"""What callers put behind the question mark: pages, filters, and environments as base64."""

import base64
import binascii
import json
from enum import StrEnum
from typing import Any

import falcon

from isthmus.control.errors import InvalidInput
from isthmus.control.http import check_text
from isthmus.migration.model import ExecutionStatus
from isthmus.migration.store.paging import Page

_MOST = 2**31 - 1


def page_of(req: falcon.Request, statuses: type[StrEnum] = ExecutionStatus) -> Page:
    """Return the page that is asked for: marker, limit, sort_key and sort_dir (or sort_keys, sort_dirs), status."""
    keys = _list(req, "sort_key") or _list(req, "sort_keys")
    directions = _list(req, "sort_dir") or _list(req, "sort_dirs")
    for direction in directions:
        if direction not in {"asc", "desc"}:
            raise InvalidInput(f"sort_dir is {direction!r}; it must be asc or desc")
    # A key without a direction goes down, as in Coriolis.
    directions += ["desc"] * (len(keys) - len(directions))
    default = Page()
    return Page(
        marker=text(req, "marker"),
        limit=limit_of(req),
        sort=tuple((key, way == "desc") for key, way in zip(keys, directions, strict=False)) or default.sort,
        status=_status(req, statuses),
        show_deleted=flag(req, "show_deleted"),
    )


def limit_of(req: falcon.Request) -> int | None:
    """Return `limit`; None if there is none."""
    given = text(req, "limit")
    if given is None:
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 20 or int(given) < 1:
        raise InvalidInput(f"limit is {given!r}; it must be a whole number from 1")
    return min(int(given), _MOST)


def text(req: falcon.Request, name: str) -> str | None:
    """Return one parameter as text."""
    value: str | None = req.get_param(name)
    if value is not None:
        check_text(value, name)
    return value


def flag(req: falcon.Request, name: str) -> bool:
    """Return one parameter as truth; what is neither true nor false is false, as in Coriolis."""
    return (req.get_param(name) or "").strip().lower() in {"1", "t", "true", "on", "y", "yes"}


def environment_of(req: falcon.Request) -> dict[str, Any]:
    """Return `env`, url-safe base64 of a JSON object; empty if there is none."""
    given = text(req, "env")
    if given is None:
        return {}
    value = _json(decode(given, "env"), "env")
    if not isinstance(value, dict):
        raise InvalidInput("env must be the url-safe base64 of a JSON object")
    return value


def names_of(req: falcon.Request) -> list[str]:
    """Return `options`, url-safe base64 of a JSON list of names; empty if there is none."""
    given = text(req, "options")
    if given is None:
        return []
    value = _json(decode(given, "options"), "options")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise InvalidInput("options must be the url-safe base64 of a JSON list of names")
    return value


def decode(given: str, what: str) -> str:
    """Return the text that url-safe base64 stands for."""
    try:
        decoded = base64.b64decode(given.encode("ascii"), altchars=b"-_", validate=True).decode("utf-8")
    except (binascii.Error, UnicodeError):
        raise InvalidInput(f"{what} is not the url-safe base64 of a text") from None
    check_text(decoded, what)
    return decoded


def _json(given: str, what: str) -> object:
    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{what} does not hold JSON") from None


def _list(req: falcon.Request, name: str) -> list[str]:
    values: list[str] = req.get_param_as_list(name) or []
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _status(req: falcon.Request, statuses: type[StrEnum]) -> str | None:
    given = text(req, "status")
    if given is not None and given not in set(statuses):
        raise InvalidInput(f"unknown status {given!r}; there are: {', '.join(statuses)}")
    return given
