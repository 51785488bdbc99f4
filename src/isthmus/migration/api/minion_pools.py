"""Minion pools: how many machines of an endpoint may be worked on at once. docs/api.md says what a machine is."""

from typing import Any

import falcon
from sqlalchemy.orm import Session

from isthmus.control import outbox
from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import Conflict, InvalidInput
from isthmus.control.identity import Caller
from isthmus.migration.api import views
from isthmus.migration.api.actions import action_of, wrapped
from isthmus.migration.api.environments import check_side
from isthmus.migration.api.queries import page_of
from isthmus.migration.api.schemas import Deallocate, MinionPoolCreate, MinionPoolUpdate
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.model import POOL_BUSY, PoolPlatform, PoolStatus
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.reporting import Level
from isthmus.migration.store import endpoints
from isthmus.migration.store import pools as store
from isthmus.migration.tables import MinionMachineRow, MinionPoolRow

FIRST_MOVES = {
    "allocate": (PoolStatus.VALIDATING_INPUTS, "allocation begins"),
    "refresh": (PoolStatus.IN_MAINTENANCE, "refreshing begins"),
    "deallocate": (PoolStatus.DEALLOCATING_MACHINES, "deallocation begins"),
}


class MinionPools:
    """GET and POST minion_pools."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's pools."""
        caller = self._service.allow(req, "minion_pools:list")
        with self._service.database.transaction() as session:
            resp.media = {
                "minion_pools": [
                    _shown(row) for row in store.fetch(session, caller.project_id, page_of(req, PoolStatus))
                ]
            }

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a pool and allocate it, unless `skip_allocation`."""
        caller = self._service.allow(req, "minion_pools:create")
        wanted = parse(MinionPoolCreate, wrapped(self._service.body(req), "minion_pool"), "minion_pool")
        with self._service.database.transaction() as session:
            platform = endpoints.get(session, caller.project_id, wanted.endpoint_id).type
        _check(platform, wanted)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            endpoints.claim(session, caller.project_id, wanted.endpoint_id)
            row = _row(caller, trust_id, wanted)
            session.add(row)
            session.flush()
            store.tell(row, "the pool is made", utc_now())
            if not wanted.skip_allocation:
                _begin(session, row, "allocate", trust_id)
            resp.media = {"minion_pool": _shown(row)}


class MinionPool:
    """GET, PUT and DELETE of one pool."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, pool_id: str) -> None:
        """Show a pool with its machines and events."""
        caller = self._service.allow(req, "minion_pools:show")
        with self._service.database.transaction() as session:
            resp.media = {"minion_pool": _shown(store.get(session, caller.project_id, pool_id))}

    def on_put(self, req: falcon.Request, resp: falcon.Response, pool_id: str) -> None:
        """Change what the body names; an allocated pool follows its new limits by itself."""
        caller = self._service.allow(req, "minion_pools:update")
        body = wrapped(self._service.body(req), "minion_pool")
        wanted = parse(MinionPoolUpdate, body, "minion_pool")
        for fixed in ("endpoint_id", "platform"):
            if isinstance(body, dict) and body.get(fixed) is not None:
                raise InvalidInput(f"minion_pool.{fixed} cannot be changed; make another pool")
        with self._service.database.transaction() as session:
            row = _claim(session, caller, pool_id)
            for key, value in wanted.model_dump(exclude_none=True).items():
                setattr(row, key, value)
            _check_limits(row.minimum_minions, row.maximum_minions)
            _check_os(row.platform, row.os_type)
            row.updated_at = utc_now()
            store.tell(row, "the pool is changed", row.updated_at)
            resp.media = {"minion_pool": _shown(row)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, pool_id: str) -> None:
        """Delete a pool that is deallocated and that no transfer names."""
        caller = self._service.allow(req, "minion_pools:delete")
        with self._service.database.transaction() as session:
            row = _claim(session, caller, pool_id)
            if row.status not in {PoolStatus.DEALLOCATED, PoolStatus.ERROR} or row.machines:
                raise Conflict(f"minion pool {row.id} ({row.name}) is {row.status}; deallocate it first")
            store.check_unused(session, row)
            row.deleted_at = utc_now()
        resp.status = 204


class MinionPoolActions:
    """POST minion_pools/{id}/actions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response, pool_id: str) -> None:
        """Allocate, refresh or deallocate. A forced deallocation works from every status, and at once."""
        body = self._service.body(req)
        action = action_of(body, *FIRST_MOVES)
        caller = self._service.allow(req, f"minion_pools:{action}")
        forced = action == "deallocate" and parse(Deallocate, body[action] or {}, action).force
        with self._service.database.transaction() as session:
            store.get(session, caller.project_id, pool_id)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            row = _claim(session, caller, pool_id)
            row.maintenance_trust_id = trust_id
            if forced:
                _deallocate_now(row)
            else:
                _begin(session, row, action, trust_id)
            resp.media = {"minion_pool": _shown(row)}


def _claim(session: Session, caller: Caller, pool_id: str) -> MinionPoolRow:
    store.get(session, caller.project_id, pool_id)
    return store.claim(session, pool_id)


def _begin(session: Session, row: MinionPoolRow, action: str, trust_id: str | None) -> None:
    if action == "deallocate" and store.in_use(row):
        raise Conflict(
            f"minion pool {row.id} ({row.name}) has machines in use; wait for the executions, cancel them, or use force"
        )
    if row.status in POOL_BUSY:
        raise Conflict(
            f"minion pool {row.id} ({row.name}) is {row.status}; wait until it is not, or deallocate by force"
        )
    target, message = FIRST_MOVES[action]
    now = utc_now()
    store.move(row, target, now, message)
    outbox.start(
        session,
        workflow="MinionPoolAction",
        workflow_id=f"pool-{new_id()}",
        argument={"pool_id": row.id, "action": action, "trust_id": trust_id},
        now=now,
    )


def _deallocate_now(row: MinionPoolRow) -> None:
    row.machines.clear()
    row.status, row.updated_at = PoolStatus.DEALLOCATED, utc_now()
    store.tell(row, "deallocated by force", row.updated_at, Level.WARNING)


def _check(platform: str, wanted: MinionPoolCreate) -> None:
    check_side(provider_class(platform), PoolPlatform(wanted.platform))
    _check_os(wanted.platform, wanted.os_type)
    _check_limits(wanted.minimum_minions, wanted.maximum_minions or wanted.minimum_minions)


def _check_limits(minimum: int, maximum: int) -> None:
    if maximum < minimum:
        raise InvalidInput(
            f"minion_pool.maximum_minions ({maximum}) must be at least minion_pool.minimum_minions ({minimum})"
        )


def _check_os(platform: str, os_type: str) -> None:
    if platform == PoolPlatform.SOURCE and os_type != "linux":
        raise InvalidInput(f"minion_pool.os_type of a source pool must be linux, not {os_type}")


def _row(caller: Caller, trust_id: str | None, wanted: MinionPoolCreate) -> MinionPoolRow:
    return MinionPoolRow(
        id=new_id(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        maintenance_trust_id=trust_id,
        name=wanted.name,
        endpoint_id=wanted.endpoint_id,
        os_type=wanted.os_type,
        platform=wanted.platform,
        environment_options=wanted.environment_options,
        minimum_minions=wanted.minimum_minions,
        maximum_minions=wanted.maximum_minions or wanted.minimum_minions,
        minion_max_idle_time=wanted.minion_max_idle_time,
        minion_retention_strategy=wanted.minion_retention_strategy,
        notes=wanted.notes,
        status=PoolStatus.DEALLOCATED,
        machines=[],
        events=[],
        created_at=utc_now(),
    )


def _shown(row: MinionPoolRow) -> dict[str, Any]:
    return {
        **views.stamps(row, row.id),
        **{
            key: getattr(row, key)
            for key in (
                "id",
                "project_id",
                "user_id",
                "maintenance_trust_id",
                "name",
                "endpoint_id",
                "os_type",
                "platform",
                "environment_options",
                "minimum_minions",
                "maximum_minions",
                "minion_max_idle_time",
                "minion_retention_strategy",
                "notes",
                "status",
            )
        },
        "shared_resources": {},
        "progress_updates": [],
        "events": [
            {
                "id": each.id,
                "pool_id": each.pool_id,
                "level": each.level,
                "message": each.message,
                "index": each.index,
                "created_at": views.moment(each.created_at),
            }
            for each in row.events
        ],
        "minion_machines": [_machine(each) for each in row.machines],
    }


def _machine(row: MinionMachineRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "pool_id": row.pool_id,
        "allocation_status": row.allocation_status,
        "power_status": row.power_status,
        "allocated_action": row.allocated_action,
        "allocated_instance": row.allocated_instance,
        "last_used_at": views.moment(row.last_used_at),
        "created_at": views.moment(row.created_at),
        "updated_at": views.moment(row.updated_at),
        # There is no machine behind it, so nothing to connect to.
        "connection_info": None,
        "backup_writer_connection_info": None,
        "provider_properties": None,
    }
