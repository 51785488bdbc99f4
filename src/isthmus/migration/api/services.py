"""Services: the workers of the installation. They make themselves known; an administrator can register one at once."""

from collections.abc import Sequence
from typing import Any

import falcon
from sqlalchemy.orm import Session

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import Conflict, InvalidInput, Unavailable
from isthmus.control.queues import host_queue
from isthmus.migration.api import views
from isthmus.migration.api.actions import wrapped
from isthmus.migration.api.queries import page_of
from isthmus.migration.api.schemas import ServiceCreate, ServiceUpdate
from isthmus.migration.api.service import Service as Parts
from isthmus.migration.api.service import new_id
from isthmus.migration.api.worker_views import workers_of
from isthmus.migration.store import regions as store
from isthmus.migration.store import workers
from isthmus.migration.tables import ServiceRow


class Services:
    """GET and POST services."""

    def __init__(self, service: Parts) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List all services."""
        self._service.allow(req, "services:list")
        with self._service.database.transaction() as session:
            resp.media = {"services": _shown(session, store.services(session, page_of(req)))}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Register the worker of a host; it is asked what it is, and a host where none answers is refused (409)."""
        self._service.allow(req, "services:create")
        wanted = parse(ServiceCreate, wrapped(self._service.body(req), "service"), "service")
        with self._service.database.transaction() as session:
            store.check(session, wanted.mapped_regions)
            if store.find_service(session, wanted.host, wanted.binary, wanted.topic) is not None:
                raise Conflict(f"{wanted.binary} on {wanted.host} is registered already; change it instead (PUT)")
        try:
            facts = self._service.introduce(host_queue(wanted.host))
        except Unavailable as silent:
            raise Conflict(
                f"no worker answers on host {wanted.host}: start it there (isthmus worker), see that both reach the "
                f"same Temporal, and that the name is the one its hostname command tells ({silent.message})"
            ) from None
        now = utc_now()
        row = ServiceRow(
            id=new_id(),
            host=wanted.host,
            binary=wanted.binary,
            topic=wanted.topic,
            enabled=wanted.enabled,
            mapped_regions=list(wanted.mapped_regions),
            providers=facts["providers"],
            specs=facts["diagnostics"],
            reported_at=now,
            created_at=now,
        )
        with self._service.database.transaction() as session:
            store.add_service(session, row)
            resp.media = {"service": _shown(session, [row])[0]}


class Service:
    """GET, PUT and DELETE of one service."""

    def __init__(self, service: Parts) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, service_id: str) -> None:
        """Show a service."""
        self._service.allow(req, "services:show")
        with self._service.database.transaction() as session:
            resp.media = {"service": _shown(session, [store.service(session, service_id)])[0]}

    def on_put(self, req: falcon.Request, resp: falcon.Response, service_id: str) -> None:
        """Change `enabled` and `mapped_regions`."""
        self._service.allow(req, "services:update")
        wanted = parse(ServiceUpdate, wrapped(self._service.body(req), "service"), "service")
        changes = wanted.model_dump(exclude_unset=True)
        for key, value in changes.items():
            if value is None:
                raise InvalidInput(f"service.{key} must not be null; leave it out to keep it")
        with self._service.database.transaction() as session:
            store.check(session, wanted.mapped_regions or [])
            row = store.service(session, service_id)
            for key, value in changes.items():
                setattr(row, key, value)
            row.updated_at = utc_now()
            session.flush()
            resp.media = {"service": _shown(session, [row])[0]}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, service_id: str) -> None:
        """Forget a service. A worker that runs makes itself known again within a minute."""
        self._service.allow(req, "services:delete")
        with self._service.database.transaction() as session:
            session.delete(store.service(session, service_id))
        resp.status = 204


def _shown(session: Session, rows: Sequence[ServiceRow]) -> list[dict[str, Any]]:
    now = utc_now()
    hosts = [row.host for row in rows if row.binary == workers.WORKER_BINARY]
    shown, own = workers_of(session, hosts, now), workers.of_hosts(session, hosts)
    return [
        {
            **_facts(row),
            "status": workers.service_status(row, own.get(row.host, []), now),
            "workers": shown.get(row.host, []) if row.binary == workers.WORKER_BINARY else [],
        }
        for row in rows
    ]


def _facts(row: ServiceRow) -> dict[str, Any]:
    # What only `diagnostics` may tell (packages, addresses) stays out of a listing that every reader gets.
    specs = {key: row.specs.get(key) for key in ("hostname", "os_info", "release_tag")}
    return {
        **views.stamps(row, row.id),
        "id": row.id,
        "host": row.host,
        "binary": row.binary,
        "topic": row.topic,
        "enabled": row.enabled,
        "providers": row.providers,
        "specs": specs,
        "mapped_regions": row.mapped_regions,
    }
