"""Endpoints: the clouds of a project. Connection details given inline become a Barbican secret at once."""

import logging
from contextlib import ExitStack
from typing import Any

import falcon

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput, IsthmusError
from isthmus.control.identity import Caller
from isthmus.migration.api import views
from isthmus.migration.api.actions import action_of, wrapped
from isthmus.migration.api.environments import check_connection
from isthmus.migration.api.queries import page_of
from isthmus.migration.api.schemas import EndpointCreate, EndpointUpdate, SecretReference
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.store import endpoints as store
from isthmus.migration.store import regions
from isthmus.migration.tables import EndpointRow

log = logging.getLogger(__name__)


class Endpoints:
    """GET and POST endpoints."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's endpoints."""
        caller = self._service.allow(req, "endpoints:list")
        with self._service.database.transaction() as session:
            rows = store.fetch(session, caller.project_id, page_of(req))
            resp.media = {"endpoints": [views.endpoint(row) for row in rows]}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make an endpoint."""
        caller = self._service.allow(req, "endpoints:create")
        wanted = parse(EndpointCreate, wrapped(self._service.body(req), "endpoint"), "endpoint")
        with self._service.database.transaction() as session:
            regions.check(session, wanted.mapped_regions)
        with ExitStack() as undo:
            ref, owned = _keep(self._service, caller, undo, wanted.type, wanted.connection_info)
            row = EndpointRow(
                id=new_id(),
                project_id=caller.project_id,
                user_id=caller.user_id,
                name=wanted.name,
                type=wanted.type,
                description=wanted.description,
                connection_info={"secret_ref": ref},
                owns_secret=owned,
                mapped_regions=list(wanted.mapped_regions),
                created_at=utc_now(),
            )
            with self._service.database.transaction() as session:
                store.add(session, row)
            undo.pop_all()
        resp.media = {"endpoint": views.endpoint(row)}


class Endpoint:
    """GET, PUT and DELETE of one endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Show an endpoint."""
        caller = self._service.allow(req, "endpoints:show")
        with self._service.database.transaction() as session:
            resp.media = {"endpoint": views.endpoint(store.get(session, caller.project_id, endpoint_id))}

    def on_put(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Change what the body names; new connection details replace the old ones whole."""
        caller = self._service.allow(req, "endpoints:update")
        wanted = parse(EndpointUpdate, wrapped(self._service.body(req), "endpoint"), "endpoint")
        with self._service.database.transaction() as session:
            platform = store.get(session, caller.project_id, endpoint_id).type
            regions.check(session, wanted.mapped_regions or [])
        with ExitStack() as undo:
            changes = _changes(self._service, caller, undo, platform, wanted)
            with self._service.database.transaction() as session:
                row = store.claim(session, caller.project_id, endpoint_id)
                dropped = (
                    row.connection_info["secret_ref"] if row.owns_secret and "connection_info" in changes else None
                )
                for key, value in changes.items():
                    setattr(row, key, value)
                row.updated_at = utc_now()
            undo.pop_all()
        if dropped is not None:
            self._drop(caller, dropped)
        resp.media = {"endpoint": views.endpoint(row)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Delete an endpoint that no transfer uses, with the secret that was made for it."""
        caller = self._service.allow(req, "endpoints:delete")
        with self._service.database.transaction() as session:
            row = store.claim(session, caller.project_id, endpoint_id)
            store.mark_deleted(session, row, utc_now())
            # Before the commit: if Barbican is silent the endpoint stays, and deleting it again is right.
            if row.owns_secret:
                self._service.vault.delete(caller, row.connection_info["secret_ref"])
        resp.status = 204

    def _drop(self, caller: Caller, ref: str) -> None:
        try:
            self._service.vault.delete(caller, ref)
        except IsthmusError as error:
            # The update itself is done and must be answered so; what is left is one unused secret.
            log.warning("the replaced secret %s could not be deleted (%s); delete it in Barbican", ref, error.code)


class EndpointActions:
    """POST endpoints/{id}/actions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Try the connection (`validate-connection`); a bad one is an answer, not an error."""
        caller = self._service.allow(req, "endpoints:validate_connection")
        action_of(self._service.body(req), "validate-connection")
        with self._service.database.transaction() as session:
            row = store.get(session, caller.project_id, endpoint_id)
        try:
            self._service.ask(caller, row, "validate_connection")
        except IsthmusError as error:
            resp.media = {"validate-connection": {"valid": False, "message": error.message}}
        else:
            resp.media = {"validate-connection": {"valid": True, "message": None}}


def _changes(
    service: Service, caller: Caller, undo: ExitStack, platform: str, wanted: EndpointUpdate
) -> dict[str, Any]:
    changes: dict[str, Any] = wanted.model_dump(exclude_unset=True, include={"name", "description", "mapped_regions"})
    for key in ("name", "mapped_regions"):
        if changes.get(key, ...) is None:
            raise InvalidInput(f"endpoint.{key} must not be null; leave it out to keep it")
    if wanted.connection_info is not None:
        ref, owned = _keep(service, caller, undo, platform, wanted.connection_info)
        changes |= {"connection_info": {"secret_ref": ref}, "owns_secret": owned}
    return changes


def _keep(
    service: Service, caller: Caller, undo: ExitStack, platform: str, details: dict[str, Any]
) -> tuple[str, bool]:
    """Return the reference of connection details, and whether a secret was made for it; `undo` deletes that again."""
    provider = provider_class(platform)
    if "secret_ref" in details:
        if len(details) > 1:
            raise InvalidInput("endpoint.connection_info must hold either secret_ref or the details, not both")
        reference = parse(SecretReference, details, "endpoint.connection_info").secret_ref
        service.vault.check(caller, reference)
        return reference, False
    check_connection(provider, details)
    reference = service.vault.store(caller, f"isthmus {platform} connection", details)
    undo.callback(service.vault.delete, caller, reference)
    return reference, True
