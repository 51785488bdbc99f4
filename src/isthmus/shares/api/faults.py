"""Errors as Manila's API shows them: `{"itemNotFound": {"code": 404, "message": …}}`, and the few that are its own.

IsthmusError
├── VersionNotServed   406 computeFault   a well-formed microversion that is not served
├── QuotaExceeded      413 overLimit      with `retryAfter`
├── Unprocessable      422
└── SpecInvalid …      the tree's own: InvalidInput, NotAllowed, NotFound, Conflict
"""

from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import InvalidInput, IsthmusError

FAULT_NAMES: Mapping[int, str] = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}


class VersionNotServed(IsthmusError):
    """The microversion is well formed and out of range."""

    code = "share-version-not-served"
    status = 406


class QuotaExceeded(IsthmusError):
    """A limit of the project, the user or the share type would be passed."""

    code = "share-quota-exceeded"
    status = 413
    fault = "overLimit"


class Unprocessable(IsthmusError):
    """The request is understood and makes no sense for this object."""

    code = "share-unprocessable"
    status = 422


class NoSuchRoute(IsthmusError):
    """Nothing is served at this path, by this method, at this microversion."""

    code = "share-no-such-route"
    status = 404
    fault = "itemNotFound"


class BadAction(InvalidInput):
    """The body of an action names none, several, or one that does not exist at this microversion."""

    code = "share-bad-action"


def fault_body(status: int, message: str) -> dict[str, Any]:
    """Return the error body of a status; one without a name of its own is a computeFault (Manila's word)."""
    fault: dict[str, Any] = {"code": status, "message": message}
    if status == 413:
        fault["retryAfter"] = "0"
    return {FAULT_NAMES.get(status, "computeFault"): fault}
