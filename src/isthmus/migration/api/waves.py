"""Waves: transfers that are executed group after group. Isthmus' own; Coriolis has nothing like it."""

from collections.abc import Sequence
from typing import Any

import falcon
from sqlalchemy.orm import Session

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import Conflict, InvalidInput
from isthmus.migration.api import views
from isthmus.migration.api.actions import action_of, wrapped
from isthmus.migration.api.queries import page_of
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.api.times import future_moment
from isthmus.migration.api.transfers import check_known
from isthmus.migration.api.wave_schemas import Approve, WaveCreate, WaveGroup, WaveMember, WaveUpdate
from isthmus.migration.model import MemberStatus, WaveStatus
from isthmus.migration.planning.waves import cycle_in
from isthmus.migration.store import reading
from isthmus.migration.store import waves as store
from isthmus.migration.tables import TransferRow, WaveGroupRow, WaveMemberRow, WaveRow

MOST_MEMBERS = 1000


class Waves:
    """GET and POST waves."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's waves with their groups and members."""
        caller = self._service.allow(req, "waves:list")
        with self._service.database.transaction() as session:
            rows = store.fetch(session, caller.project_id, page_of(req, WaveStatus))
            resp.media = {"waves": [shown(row) for row in rows]}

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a wave; with `starts_at` it begins by itself, else the action `start` begins it."""
        caller = self._service.allow(req, "waves:create")
        wanted = parse(WaveCreate, wrapped(self._service.body(req), "wave"), "wave")
        starts_at = future_moment(wanted.starts_at, "starts_at")
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            store.lock_project(session, caller.project_id)
            now = utc_now()
            row = WaveRow(
                id=new_id(),
                project_id=caller.project_id,
                user_id=caller.user_id,
                trust_id=trust_id,
                name=wanted.name,
                description=wanted.description,
                status=WaveStatus.PENDING,
                starts_at=starts_at,
                max_in_flight=wanted.max_in_flight,
                auto_deploy=wanted.auto_deploy,
                shutdown_instances=wanted.shutdown_instances,
                after=[],
                run=0,
                groups=_groups(session, caller.project_id, wanted.groups),
                created_at=now,
            )
            _set_after(session, row, wanted.after)
            session.add(row)
            session.flush()
            if starts_at is not None:
                store.schedule(session, row, now)
            resp.media = {"wave": shown(row)}


class Wave:
    """GET, PUT and DELETE of one wave."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, wave_id: str) -> None:
        """Show a wave with its groups and members."""
        caller = self._service.allow(req, "waves:show")
        with self._service.database.transaction() as session:
            resp.media = {"wave": shown(store.get(session, caller.project_id, wave_id))}

    def on_put(self, req: falcon.Request, resp: falcon.Response, wave_id: str) -> None:
        """Change what the body names: name, description and limit at any time, groups before the first start only."""
        caller = self._service.allow(req, "waves:update")
        wanted = parse(WaveUpdate, wrapped(self._service.body(req), "wave"), "wave")
        starts_at = future_moment(wanted.starts_at, "starts_at")
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            store.lock_project(session, caller.project_id)
            row = store.get(session, caller.project_id, wave_id)
            now = utc_now()
            _change(session, row, wanted)
            row.trust_id, row.updated_at = trust_id, now
            if starts_at is not None:
                row.starts_at = starts_at
                store.schedule(session, row, now)
            elif wanted.max_in_flight is not None:
                store.look(session, row, now)
            resp.media = {"wave": shown(row)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, wave_id: str) -> None:
        """Hide a wave that is not under way and that no other waits for; its transfers stay."""
        caller = self._service.allow(req, "waves:delete")
        with self._service.database.transaction() as session:
            store.lock_project(session, caller.project_id)
            row = store.get(session, caller.project_id, wave_id)
            store.refuse_if_active(row)
            store.refuse_if_needed(session, row)
            row.deleted_at = utc_now()
        resp.status = 204


class WaveActions:
    """POST waves/{id}/actions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response, wave_id: str) -> None:
        """Start, approve, cancel or retry a wave; the answer is the wave."""
        body = self._service.body(req)
        action = action_of(body, "start", "approve", "cancel", "retry")
        caller = self._service.allow(req, f"waves:{action}")
        approved = parse(Approve, body[action] or {}, "approve") if action == "approve" else Approve()
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            row = store.claim(session, caller.project_id, wave_id)
            now = utc_now()
            match action:
                case "start":
                    store.start(session, row, now)
                case "approve":
                    store.approve(session, row, approved.group, now)
                case "cancel":
                    store.cancel(session, row, now)
                case "retry":
                    store.retry(session, row, now)
            row.trust_id = trust_id
            resp.media = {"wave": shown(row)}


def shown(row: WaveRow) -> dict[str, Any]:
    """Return a wave: how many members stand how, and its groups."""
    members = store.members(row)
    return {
        **views.stamps(row, row.id),
        "id": row.id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "message": row.message,
        "starts_at": views.moment(row.starts_at),
        "max_in_flight": row.max_in_flight,
        "auto_deploy": row.auto_deploy,
        "shutdown_instances": row.shutdown_instances,
        "after": row.after,
        "counts": {status: sum(member.status == status for member in members) for status in MemberStatus},
        "groups": [
            {
                "id": group.id,
                "name": group.name,
                "index": group.index,
                "gate": group.gate,
                "approved": group.approved,
                "status": group.status,
                "members": [_member(member) for member in group.members],
            }
            for group in row.groups
        ],
    }


def _member(row: WaveMemberRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "transfer_id": row.transfer_id,
        "instances": row.instances,
        "status": row.status,
        "message": row.message,
        "execution_id": row.execution_id,
        "deployment_id": row.deployment_id,
        "started_at": views.moment(row.started_at),
        "ended_at": views.moment(row.ended_at),
    }


def _change(session: Session, row: WaveRow, wanted: WaveUpdate) -> None:
    if {"auto_deploy", "shutdown_instances", "after", "starts_at"} & wanted.model_fields_set and (
        row.status != WaveStatus.SCHEDULED
    ):
        store.refuse_if_active(row)
    if wanted.groups is not None:
        if row.status != WaveStatus.PENDING:
            raise Conflict(f"wave {row.id} is {row.status}: its groups are fixed; make another wave")
        row.groups.clear()
        session.flush()
        row.groups.extend(_groups(session, row.project_id, wanted.groups))
    if wanted.after is not None:
        _set_after(session, row, wanted.after)
    for column in ("name", "description", "max_in_flight", "auto_deploy", "shutdown_instances"):
        if getattr(wanted, column) is not None:
            setattr(row, column, getattr(wanted, column))


def _set_after(session: Session, row: WaveRow, after: Sequence[str]) -> None:
    """Have a wave wait for others, with the project's waves locked. Refused: strangers, and waits in a circle."""
    others = store.others(session, row)
    if missing := [each for each in after if each not in others and each != row.id]:
        raise InvalidInput(f"wave.after names {', '.join(missing)}: no such wave in this project; GET waves lists them")
    graph = {each.id: tuple(each.after or ()) for each in others.values()} | {row.id: tuple(after)}
    if circle := cycle_in(graph):
        raise InvalidInput(
            f"wave.after makes waves wait for each other in a circle: {' -> '.join(circle)}; leave one of them out"
        )
    row.after = list(after)


def _groups(session: Session, project_id: str, wanted: Sequence[WaveGroup]) -> list[WaveGroupRow]:
    members = [member for group in wanted for member in group.members]
    if len(members) > MOST_MEMBERS:
        raise InvalidInput(f"wave.groups have {len(members)} members; at most {MOST_MEMBERS} are allowed in a wave")
    ids = {member.transfer_id for member in members}
    known = {row.id: row for row in reading.transfers_by_id(session, sorted(ids)).values() if _is_live(row, project_id)}
    if strangers := sorted(ids - set(known)):
        raise InvalidInput(f"wave.groups name {', '.join(strangers)}: no such transfer in this project")
    _refuse_doubles(members, known)
    return [
        WaveGroupRow(
            id=new_id(),
            index=place,
            name=group.name,
            gate=group.gate,
            approved=False,
            status=WaveStatus.PENDING,
            members=[
                WaveMemberRow(
                    id=new_id(),
                    index=index,
                    transfer_id=member.transfer_id,
                    instances=member.instances,
                    status=MemberStatus.PENDING,
                )
                for index, member in enumerate(group.members)
            ],
        )
        for place, group in enumerate(wanted)
    ]


def _is_live(row: TransferRow, project_id: str) -> bool:
    return row.project_id == project_id and row.deleted_at is None


def _refuse_doubles(members: Sequence[WaveMember], known: dict[str, TransferRow]) -> None:
    seen: set[tuple[str, str]] = set()
    for member in members:
        transfer = known[member.transfer_id]
        check_known(member.instances or (), transfer.instances, "wave.groups.members.instances")
        for instance in member.instances or transfer.instances:
            if (transfer.id, instance) in seen:
                raise InvalidInput(
                    f"wave.groups name instance {instance} of transfer {transfer.id} twice; once is enough"
                )
            seen.add((transfer.id, instance))
