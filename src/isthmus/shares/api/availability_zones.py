"""Availability zones: those that managers reported from."""

from typing import Any

from sqlalchemy import select

from isthmus.shares.api import lists
from isthmus.shares.api.call import Call
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.tables import AvailabilityZoneRow


def index(call: Call) -> dict[str, Any]:
    """List the zones."""
    call.allow("availability_zone:index")
    table = AvailabilityZoneRow.__table__.c
    known = select(table.id, table.name, table.created_at, table.updated_at).order_by(table.created_at, table.name)
    return {"availability_zones": [dict(row) for row in lists.rows(call.session, known)]}


ROUTES = (
    Route("GET", "/os-availability-zone", index, until=since(6)),
    Route("GET", "/availability-zones", index, since(7)),
)
