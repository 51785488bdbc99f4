"""Schedules: transfers that are executed by themselves."""

from collections.abc import Sequence
from typing import Any

import falcon

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput
from isthmus.migration.api import views
from isthmus.migration.api.queries import page_of, text
from isthmus.migration.api.schemas import ScheduleCreate, ScheduleUpdate
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.api.times import future_moment
from isthmus.migration.recurrence import Recurrence
from isthmus.migration.store import reading, requests
from isthmus.migration.store import schedules as store
from isthmus.migration.tables import ScheduleFiringRow, ScheduleRow

SHOWN_FIRINGS = 10


class Schedules:
    """GET and POST transfers/{id}/schedules."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """List a transfer's schedules; `show_expired=false` leaves out those that have expired."""
        caller = self._service.allow(req, "transfer_schedules:list")
        expired = _flag(text(req, "show_expired"), "show_expired")
        with self._service.database.transaction() as session:
            transfer = reading.transfer(session, caller.project_id, transfer_id)
            rows = store.fetch(
                session, caller.project_id, transfer.id, page_of(req), now=utc_now(), expired=expired is not False
            )
            resp.media = {
                "schedules": [shown(row, store.firings(session, row.id, SHOWN_FIRINGS)) for row in rows],
            }

    def on_post(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """Make a schedule; one that would never fire is refused."""
        caller = self._service.allow(req, "transfer_schedules:create")
        wanted = parse(ScheduleCreate, _body(self._service, req), "schedule")
        Recurrence.of(wanted.schedule)
        expires = future_moment(wanted.expiration_date, "expiration_date")
        with self._service.database.transaction() as session:
            reading.transfer(session, caller.project_id, transfer_id)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            now = utc_now()
            row = ScheduleRow(
                id=new_id(),
                project_id=caller.project_id,
                user_id=caller.user_id,
                transfer_id=transfer.id,
                trust_id=trust_id,
                schedule=_set_fields(wanted.schedule),
                expiration_date=expires,
                enabled=wanted.enabled,
                shutdown_instance=wanted.shutdown_instance,
                auto_deploy=wanted.auto_deploy,
                created_at=now,
            )
            store.set_next(row, now)
            session.add(row)
        resp.media = {"schedule": shown(row, ())}


class Schedule:
    """GET, PUT and DELETE of one schedule."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, schedule_id: str) -> None:
        """Show a schedule and what became of its last due times."""
        caller = self._service.allow(req, "transfer_schedules:show")
        with self._service.database.transaction() as session:
            row = store.get(session, caller.project_id, transfer_id, schedule_id)
            resp.media = {"schedule": shown(row, store.firings(session, row.id, SHOWN_FIRINGS))}

    def on_put(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, schedule_id: str) -> None:
        """Change what the body names. The next due time is reckoned anew; a due time that has passed is gone."""
        caller = self._service.allow(req, "transfer_schedules:update")
        wanted = parse(ScheduleUpdate, _body(self._service, req, required=False), "schedule")
        with self._service.database.transaction() as session:
            store.get(session, caller.project_id, transfer_id, schedule_id)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            requests.claim_transfer(session, caller.project_id, transfer_id)
            row = store.get(session, caller.project_id, transfer_id, schedule_id)
            _change(row, wanted)
            row.trust_id, row.updated_at = trust_id, utc_now()
            if row.enabled or "schedule" in wanted.model_fields_set:
                store.set_next(row, row.updated_at)
            else:
                row.next_due_at = None
            resp.media = {"schedule": shown(row, store.firings(session, row.id, SHOWN_FIRINGS))}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, schedule_id: str) -> None:
        """Delete a schedule; what it has started goes on."""
        caller = self._service.allow(req, "transfer_schedules:delete")
        with self._service.database.transaction() as session:
            requests.claim_transfer(session, caller.project_id, transfer_id)
            row = store.get(session, caller.project_id, transfer_id, schedule_id)
            row.deleted_at, row.next_due_at = utc_now(), None
        resp.status = 204


def shown(row: ScheduleRow, firings: Sequence[ScheduleFiringRow]) -> dict[str, Any]:
    """Return a schedule as Coriolis shows it, with its next due time and what became of the last ones."""
    return {
        **views.stamps(row, row.id),
        "id": row.id,
        "transfer_id": row.transfer_id,
        "schedule": row.schedule,
        "expiration_date": views.moment(row.expiration_date),
        "enabled": row.enabled,
        "shutdown_instance": row.shutdown_instance,
        "auto_deploy": row.auto_deploy,
        "trust_id": row.trust_id,
        "next_due_at": views.moment(row.next_due_at),
        "firings": [
            {
                "due_at": views.moment(each.due_at),
                "outcome": each.outcome,
                "execution_id": each.execution_id,
                "message": each.message,
            }
            for each in firings
        ],
    }


def _body(service: Service, req: falcon.Request, *, required: bool = True) -> dict[str, Any]:
    body = service.body(req)
    if required and body.get("schedule") is None:
        raise InvalidInput('the body lacks the schedule: {"schedule": {"hour": 2, "minute": 30}, …}')
    return body


def _change(row: ScheduleRow, wanted: ScheduleUpdate) -> None:
    if wanted.schedule is not None:
        row.schedule = _set_fields(wanted.schedule)
    if "expiration_date" in wanted.model_fields_set:
        row.expiration_date = future_moment(wanted.expiration_date, "expiration_date")
    for column in ("enabled", "shutdown_instance", "auto_deploy"):
        if getattr(wanted, column) is not None:
            setattr(row, column, getattr(wanted, column))


def _set_fields(schedule: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schedule.items() if value is not None}


def _flag(given: str | None, name: str) -> bool | None:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if given is None:
        return None
    if given.strip().lower() not in words:
        raise InvalidInput(f"{name} is {given!r}; it must be true or false")
    return words[given.strip().lower()]
