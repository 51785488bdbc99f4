"""The bodies of calls about shares, read once into typed values."""

from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import InvalidInput, NotAllowed
from isthmus.shares.api.call import Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.queries import boolean

LONGEST_TEXT = 255
LARGEST = 2**31 - 1


def share_body(call: Call) -> dict[str, Any]:
    """Return the object under `share`; Manila answers 422 where there is none."""
    inner = call.body().get("share")
    if not isinstance(inner, dict):
        raise Unprocessable("Unable to process the contained instructions: the body has no object 'share'")
    return inner


def text(data: Mapping[str, Any], *names: str, longest: int = LONGEST_TEXT) -> str | None:
    """Return the first of these that is given and not empty, as text; `InvalidInput` names what is none or too long."""
    for name in names:
        value = data.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise InvalidInput(f"Invalid input received: {name} must be a string.")
        if len(value) > longest:
            raise InvalidInput(f"Invalid input received: {name} can only be {longest} characters long.")
        return value
    return None


def whole(value: object) -> int | None:
    """Return a whole number given as a number or as text, None for all else."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        number = int(value)
    except ValueError:
        return None
    return number if str(number) == str(value) and abs(number) <= LARGEST else None


def new_size(argument: Any) -> int:
    """Return `new_size` of an action; `InvalidInput` for what is no whole number from 0."""
    number = whole(argument.get("new_size")) if isinstance(argument, dict) else None
    if number is None or number < 0:
        raise InvalidInput("New share size must be specified as an integer.")
    return number


def public_flag(call: Call, data: Mapping[str, Any], rule: str) -> bool | None:
    """Return `is_public` if it is given; `NotAllowed` if the policy does not let the caller publish."""
    if "is_public" not in data:
        return None
    wanted = boolean(data["is_public"], "is_public")
    if wanted and not call.may(rule):
        raise NotAllowed("User is not authorized to set 'is_public' to True in the request.")
    return wanted
