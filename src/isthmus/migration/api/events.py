"""Live events: what changes in a project, as server-sent events.

An event is an object as it is now, so one that comes twice does no harm; each reader is told at least once of every
last state. `Last-Event-ID` is the time of the look that found the event: a reader that comes back hears of all since.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import falcon

from isthmus.control.database import Database, utc_now
from isthmus.control.errors import InvalidInput
from isthmus.control.streaming import HEADERS, HUB, SUBSCRIPTION, Hub, Place, Subscription, event
from isthmus.migration.api.service import Service
from isthmus.migration.model import ACTIVE
from isthmus.migration.store import reading
from isthmus.migration.store.changes import Change, Scope, changes
from isthmus.migration.store.paging import Page

OVERLAP = timedelta(seconds=10)
"""Looks overlap: a row's time is that of its writer's clock, before its transaction was committed."""

OLDEST = timedelta(hours=1)
"""Whoever was away for longer hears of the last hour."""

RETRY_MILLISECONDS = 2000


class Memory:
    """What one reader knows: when was looked last, and the objects told of in the looks that overlap."""

    def __init__(self, since: datetime | None) -> None:
        self.since = since
        self._known: dict[tuple[str, str], int] = {}

    def news(self, found: Sequence[Change]) -> list[Change]:
        """Return what the reader does not know yet, and remember all that was found."""
        marks = {(each.kind, each.key): hash(json.dumps(each.data)) for each in found}
        fresh = [each for each in found if self._known.get((each.kind, each.key)) != marks[each.kind, each.key]]
        self._known = marks
        return fresh


class EventFeed:
    """Looks once for all readers of the same scope. `now` and row times are UTC without a zone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __call__(self, subscriptions: Sequence[Subscription]) -> None:
        """Give each reader what is new since its last look."""
        scopes: dict[Scope, list[Subscription]] = {}
        for each in subscriptions:
            scopes.setdefault(each.wanted, []).append(each)
        for scope, readers in scopes.items():
            self._look(scope, readers)

    def _look(self, scope: Scope, readers: Sequence[Subscription]) -> None:
        now = utc_now()
        since = [reader.memory.since for reader in readers]
        earliest = None if None in since else max(min(since) - OVERLAP, now - OLDEST)
        with self._database.transaction() as session:
            found = changes(session, scope, earliest)
        identity = str(int(now.replace(tzinfo=UTC).timestamp() * 1_000_000))
        for reader in readers:
            reader.memory.since = now
            for change in reader.memory.news(found):
                reader.pending += event(change.kind, identity, json.dumps(change.data))
            if scope.execution_id is not None and _has_ended(found):
                reader.pending += event("end", identity, json.dumps({"execution_id": scope.execution_id}))
                reader.over = True


def _has_ended(found: Sequence[Change]) -> bool:
    return not any(each.kind == "execution" and each.data["status"] in ACTIVE for each in found)


class _Stream:
    """Begins a stream: the first look is part of the answer, so it needs no other server than WSGI's."""

    def __init__(self, service: Service, feed: EventFeed) -> None:
        self._service = service
        self._feed = feed

    def _begin(self, req: falcon.Request, resp: falcon.Response, scope: Scope) -> None:
        hub: Hub | None = req.env.get(HUB)
        memory = Memory(_last_seen(req))
        place = hub.reserve(scope.project_id) if hub else Place()
        reader = Subscription(self._feed, place, scope, memory)
        try:
            self._feed([reader])
        except BaseException:
            place.give_back()
            raise
        resp.content_type = "text/event-stream"
        for name, value in HEADERS.items():
            resp.set_header(name, value)
        resp.data = f"retry: {RETRY_MILLISECONDS}\n\n".encode() + bytes(reader.pending)
        reader.pending.clear()
        req.env[SUBSCRIPTION] = reader


class ProjectEvents(_Stream):
    """GET events."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tell of the project's executions and assessments, from now on or since `Last-Event-ID`."""
        caller = self._service.allow(req, "events:list")
        self._begin(req, resp, Scope(caller.project_id))


class ExecutionEvents(_Stream):
    """GET transfers/{id}/executions/{id}/events."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, execution_id: str) -> None:
        """Tell of one execution until it has ended."""
        caller = self._service.allow(req, "events:list")
        with self._service.database.transaction() as session:
            row = reading.execution(session, caller.project_id, transfer_id, execution_id)
        self._begin(req, resp, Scope(caller.project_id, row.id))


class DeploymentEvents(_Stream):
    """GET deployments/{id}/events."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, deployment_id: str) -> None:
        """Tell of one deployment's execution until it has ended."""
        caller = self._service.allow(req, "events:list")
        with self._service.database.transaction() as session:
            row = reading.deployment(session, caller.project_id, deployment_id)
            (run,) = reading.executions(session, caller.project_id, [row.id], Page(limit=1), with_tasks=False)
        self._begin(req, resp, Scope(caller.project_id, run.id))


def _last_seen(req: falcon.Request) -> datetime | None:
    given = req.get_header("Last-Event-ID")
    if given is None or given == "":
        return None
    if not given.isascii() or not given.isdigit() or len(given) > 17:
        raise InvalidInput("Last-Event-ID must be the id of an event of this stream; leave it out to begin anew")
    return datetime.fromtimestamp(int(given) / 1_000_000, UTC).replace(tzinfo=None)
