"""All routes of the shares API, gathered from the modules of its resources."""

from isthmus.shares.api import messages, resource_locks
from isthmus.shares.api.routing import Route, Routes


def all_routes() -> Routes:
    """Return the routes of every resource."""
    gathered: list[Route] = []
    gathered += [*messages.ROUTES, *resource_locks.ROUTES]
    return Routes(gathered)
