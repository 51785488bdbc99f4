"""Regions: places whose workers reach certain clouds. They belong to the whole installation."""

from typing import Any

import falcon
from sqlalchemy.orm import Session

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput
from isthmus.control.identity import Caller
from isthmus.migration.api import views
from isthmus.migration.api.actions import wrapped
from isthmus.migration.api.queries import page_of
from isthmus.migration.api.schemas import RegionCreate, RegionUpdate
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.store import regions as store
from isthmus.migration.tables import RegionRow


class Regions:
    """GET and POST regions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all regions."""
        caller = self._service.allow(req, "regions:list")
        with self._service.database.transaction() as session:
            resp.media = {"regions": [_shown(session, caller, row) for row in store.fetch(session, page_of(req))]}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a region."""
        caller = self._service.allow(req, "regions:create")
        wanted = parse(RegionCreate, wrapped(self._service.body(req), "region"), "region")
        row = RegionRow(
            id=new_id(),
            name=wanted.name,
            description=wanted.description or "",
            enabled=wanted.enabled,
            created_at=utc_now(),
        )
        with self._service.database.transaction() as session:
            store.save(session, row)
            resp.media = {"region": _shown(session, caller, row)}


class Region:
    """GET, PUT and DELETE of one region."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, region_id: str) -> None:
        """Show a region."""
        caller = self._service.allow(req, "regions:show")
        with self._service.database.transaction() as session:
            resp.media = {"region": _shown(session, caller, store.get(session, region_id))}

    def on_put(self, req: falcon.Request, resp: falcon.Response, region_id: str) -> None:
        """Change what the body names. Nothing new is begun for endpoints whose regions are all disabled."""
        caller = self._service.allow(req, "regions:update")
        wanted = parse(RegionUpdate, wrapped(self._service.body(req), "region"), "region")
        changes = wanted.model_dump(exclude_unset=True)
        for key in ("name", "enabled"):
            if changes.get(key, ...) is None:
                raise InvalidInput(f"region.{key} must not be null; leave it out to keep it")
        with self._service.database.transaction() as session:
            row = store.get(session, region_id)
            for key, value in changes.items():
                setattr(row, key, value)
            row.updated_at = utc_now()
            store.save(session, row)
            resp.media = {"region": _shown(session, caller, row)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, region_id: str) -> None:
        """Delete a region that nothing is mapped to."""
        self._service.allow(req, "regions:delete")
        with self._service.database.transaction() as session:
            store.remove(session, store.get(session, region_id))
        resp.status = 204


def _shown(session: Session, caller: Caller, row: RegionRow) -> dict[str, Any]:
    """Return a region with the caller's own endpoints: other projects' are not shown."""
    return {
        **views.stamps(row, row.id),
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "enabled": row.enabled,
        "mapped_endpoints": store.endpoints_in(session, caller.project_id, row),
        "mapped_services": store.services_in(session, row),
    }
