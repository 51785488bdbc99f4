"""Extensions: a list that is empty since all of the API is its core."""

from typing import Any

from isthmus.control.errors import NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.api.routing import Route


def index(call: Call) -> dict[str, Any]:
    """List the extensions."""
    del call
    return {"extensions": []}


def show(call: Call, alias: str) -> dict[str, Any]:
    """Show none: there are none."""
    del call
    raise NotFound(f"There is no extension {alias}.")


ROUTES = (Route("GET", "/extensions", index), Route("GET", "/extensions/{alias}", show))
