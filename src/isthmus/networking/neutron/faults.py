"""Neutron's refusals as ours: each repeats what Neutron said, and names the object and the next step."""

from typing import Any

from keystoneauth1 import exceptions

from isthmus.control.errors import (
    Conflict,
    InvalidInput,
    IsthmusError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Unavailable,
)


class AddressTaken(Conflict):
    """The wanted address or MAC is in use on the network."""

    code = "address-taken"


class NoAddressLeft(Conflict):
    """The subnets have no free address."""

    code = "no-address-left"


class QuotaReached(Conflict):
    """The project may have no more of these."""

    code = "quota-reached"


class Changed(Conflict):
    """Somebody else changed the object since it was read (its revision is another)."""

    code = "changed-meanwhile"


_BY_TYPE: dict[str, tuple[type[IsthmusError], str]] = {
    "IpAddressInUse": (AddressTaken, "choose another address, or let Neutron choose"),
    "IpAddressAlreadyAllocated": (AddressTaken, "choose another address, or let Neutron choose"),
    "MacAddressInUse": (AddressTaken, "choose another MAC address, or let Neutron choose"),
    "IpAddressGenerationFailure": (NoAddressLeft, "delete ports or add a subnet"),
    "IpAddressGenerationFailureNoMatchingSubnet": (NoAddressLeft, "name a subnet of this network"),
    "NoMoreAddresses": (NoAddressLeft, "delete ports or add a subnet"),
    "OverQuota": (QuotaReached, "delete some, or ask for a higher quota"),
    "RevisionNumberConstraintFailed": (Changed, "try again"),
}

_BY_STATUS: dict[int, tuple[type[IsthmusError], str]] = {
    400: (InvalidInput, "correct the request"),
    401: (NotAuthenticated, "check the application credential of the project"),
    403: (NotAllowed, "give the application credential's user the role that this needs"),
    404: (NotFound, "check the id and the project"),
    409: (Conflict, "see who uses it"),
    412: (Changed, "try again"),
}

_LONGEST_QUOTE = 400


def explain(error: exceptions.HttpError, what: str) -> IsthmusError:
    """Return our error for an answer of Neutron's; `what` says what was asked, as "create a port on network X"."""
    kind, said = _parse(error)
    status = int(error.http_status or 500)
    if kind in _BY_TYPE or status in _BY_STATUS:
        error_class, step = _BY_TYPE.get(kind) or _BY_STATUS[status]
        return error_class(f"Neutron refused to {what}: {said}; {step}")
    return Unavailable(f"Neutron answered {status} when asked to {what}: {said}; try again, or see Neutron's log")


def silent(error: Exception, what: str) -> Unavailable:
    """Return the error for a Neutron or Keystone that gave no answer."""
    return Unavailable(
        f"Neutron gave no answer when asked to {what} ({type(error).__name__}); try again, or see its log"
    )


def _parse(error: exceptions.HttpError) -> tuple[str, str]:
    """Return (Neutron's name of the error, its words), both possibly made of the status alone."""
    try:
        body: Any = error.response.json()
    except (AttributeError, ValueError):
        body = None
    found = body.get("NeutronError", body) if isinstance(body, dict) else None
    if isinstance(found, dict):
        words = " ".join(str(found.get("message") or found.get("detail") or error.message).split())
        return str(found.get("type", "")), words.rstrip(".")[:_LONGEST_QUOTE]
    words = found if isinstance(found, str) else str(error.message)
    return "", " ".join(words.split()).rstrip(".")[:_LONGEST_QUOTE]
