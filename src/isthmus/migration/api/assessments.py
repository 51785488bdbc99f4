"""Assessments: what stands in the way of migrating some machines, or all of an endpoint, and how long it would take."""

from collections.abc import Sequence
from typing import Any

import falcon

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput
from isthmus.control.identity import Caller
from isthmus.migration.api import views
from isthmus.migration.api.actions import wrapped
from isthmus.migration.api.assessment_schemas import AssessmentCreate
from isthmus.migration.api.environments import check_destination, check_source
from isthmus.migration.api.queries import limit_of, page_of, text
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.model import AssessmentStatus
from isthmus.migration.planning.concerns import Severity
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.store import assessments as store
from isthmus.migration.store import endpoints
from isthmus.migration.tables import AssessedMachineRow, AssessmentRow, EndpointRow


class Assessments:
    """GET and POST assessments."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's assessments, without their machines."""
        caller = self._service.allow(req, "assessments:list")
        with self._service.database.transaction() as session:
            rows = store.fetch(session, caller.project_id, page_of(req, AssessmentStatus))
            resp.media = {"assessments": [shown(row) for row in rows]}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Begin an assessment. It goes on in the background; nothing is changed at any cloud."""
        caller = self._service.allow(req, "assessments:create")
        wanted = parse(AssessmentCreate, wrapped(self._service.body(req), "assessment"), "assessment")
        ends = [wanted.endpoint_id, *([wanted.destination_endpoint_id] if wanted.destination_endpoint_id else [])]
        with self._service.database.transaction() as session:
            rows = [endpoints.get(session, caller.project_id, each) for each in ends]
        _check(wanted, rows)
        row = _row(caller, self._service.trusts(caller), wanted)
        with self._service.database.transaction() as session:
            for endpoint_id in sorted(set(ends)):
                endpoints.claim(session, caller.project_id, endpoint_id)
            store.start(session, row)
            resp.media = {"assessment": shown(row)}


class Assessment:
    """GET and DELETE of one assessment."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, assessment_id: str) -> None:
        """Show an assessment: how far it is, and its summary once it is COMPLETED."""
        caller = self._service.allow(req, "assessments:show")
        with self._service.database.transaction() as session:
            resp.media = {"assessment": shown(store.get(session, caller.project_id, assessment_id))}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, assessment_id: str) -> None:
        """Delete an assessment with all that it found; one that runs is stopped."""
        caller = self._service.allow(req, "assessments:delete")
        with self._service.database.transaction() as session:
            store.running(session, assessment_id)
            store.remove(session, store.get(session, caller.project_id, assessment_id), utc_now())
        resp.status = 204


class AssessedMachines:
    """GET assessments/{id}/machines."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, assessment_id: str) -> None:
        """List the machines assessed so far in a fixed order; `marker` is an instance, `severity` each one's worst."""
        caller = self._service.allow(req, "assessments:show")
        marker, severity = text(req, "marker"), text(req, "severity")
        if severity is not None and severity not in set(Severity):
            raise InvalidInput(f"unknown severity {severity!r}; there are: {', '.join(Severity)}")
        with self._service.database.transaction() as session:
            row = store.get(session, caller.project_id, assessment_id)
            after = None if marker is None else store.position(session, row.id, marker)
            found = store.machines(session, row.id, after=after, limit=limit_of(req), severity=severity)
            resp.media = {"machines": [machine(each) for each in found]}


def shown(row: AssessmentRow) -> dict[str, Any]:
    """Return an assessment without its machines."""
    return {
        **views.stamps(row, row.id),
        "id": row.id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "endpoint_id": row.endpoint_id,
        "destination_endpoint_id": row.destination_endpoint_id,
        "instances": row.instances,
        **row.wishes,
        "status": row.status,
        "error": row.error,
        "progress": {"done": row.done, "total": row.total},
        "result": row.result,
    }


def machine(row: AssessedMachineRow) -> dict[str, Any]:
    """Return one machine of an assessment."""
    return {
        "id": row.instance,
        "instance": row.instance,
        "name": row.facts["name"] if row.facts else None,
        "severity": row.severity,
        "concerns": row.concerns,
        "bytes_to_move": row.bytes_to_move,
        "seconds": row.seconds,
        "downtime_seconds": row.downtime_seconds,
        "machine": row.facts,
    }


def _check(wanted: AssessmentCreate, ends: Sequence[EndpointRow]) -> None:
    check_source(provider_class(ends[0].type), wanted.source_environment)
    if len(ends) == 1:
        given = [name for name in ("network_map", "destination_environment") if getattr(wanted, name)]
        if given:
            raise InvalidInput(f"{', '.join(given)} without destination_endpoint_id: name the destination too")
        return
    if ends[0].id == ends[1].id:
        raise InvalidInput("the endpoint and its destination are the same; for two areas of one cloud make two")
    check_destination(provider_class(ends[1].type), wanted.destination_environment)


def _row(caller: Caller, trust_id: str | None, wanted: AssessmentCreate) -> AssessmentRow:
    return AssessmentRow(
        id=new_id(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        trust_id=trust_id,
        endpoint_id=wanted.endpoint_id,
        destination_endpoint_id=wanted.destination_endpoint_id,
        instances=wanted.instances,
        wishes={
            "source_environment": wanted.source_environment,
            "destination_environment": wanted.destination_environment,
            "network_map": wanted.network_map,
            "storage_mappings": wanted.storage_mappings.model_dump(exclude_none=True, exclude_unset=True),
            "clone_disks": wanted.clone_disks,
            "skip_os_morphing": wanted.skip_os_morphing,
        },
        status=AssessmentStatus.RUNNING,
        done=0,
        created_at=utc_now(),
    )
