"""What an administrator's `reset_status` asks for."""

from collections.abc import Collection
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.shares.model import Status

S = Status

USUAL = (
    S.CREATING,
    S.AVAILABLE,
    S.DELETING,
    S.ERROR,
    S.ERROR_DELETING,
    S.MIGRATING,
    S.MIGRATING_TO,
    S.SERVER_MIGRATING,
)
"""Statuses that may be set where nothing else is said. Source: Manila's administrative actions."""


def asked_status(argument: Any, valid: Collection[str] = USUAL) -> str:
    """Return the status that the action's argument names; `InvalidInput` if it names none of the valid ones."""
    if not isinstance(argument, dict) or "status" not in argument:
        raise InvalidInput("Must specify 'status'")
    status = argument["status"]
    if not isinstance(status, str) or status not in valid:
        raise InvalidInput(f"Invalid state. Valid states: {', '.join(valid)}.")
    return status
