"""Taking shares that exist on a back end under management, and giving them up."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, or_, select

from isthmus.control.errors import Conflict, InvalidInput, NotAllowed, NotFound
from isthmus.shares.api import share_views
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_creation import prefixed_mount_point_name
from isthmus.shares.api.share_lookup import refuse_busy, refuse_replicated, visible_share
from isthmus.shares.api.share_requests import public_flag, text
from isthmus.shares.api.versions import since
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, RulesStatus, Status
from isthmus.shares.store import (
    creating,
    hints,
    jobs,
    locks,
    messages,
    placing,
    replicas,
    results,
    share_type_facts,
    shares,
)
from isthmus.shares.store.moving import move
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.store.shares import Row
from isthmus.shares.tables import ExportRow, InstanceRow, ServiceRow, ShareRow

_Data = Mapping[str, Any]
_LONGEST_PATH = 2000
_UNMANAGEABLE = (
    Status.AVAILABLE,
    Status.ERROR,
    Status.INACTIVE,
    Status.ERROR_DELETING,
    Status.UNMANAGE_ERROR,
    Status.EXTENDING_ERROR,
    Status.SHRINKING_ERROR,
    Status.SHRINKING_POSSIBLE_DATA_LOSS_ERROR,
    Status.REVERTING_ERROR,
)


def manage(call: Call) -> dict[str, Any]:
    """Take a share that exists at an export path under management."""
    call.allow("share:manage")
    data = _checked(call)
    check_service(call, data["service_host"])
    share_type = _share_type(call, data)
    is_public = public_flag(call, data, "share:create_public_share") if call.version >= since(8) else None
    _refuse_managed(call, data["service_host"], data["export_path"])
    _check_server(share_type, data.get("share_server_id") if call.version >= since(49) else None)
    share_id, instance_id = str(uuid.uuid4()), str(uuid.uuid4())
    _write_share(call, data, share_type, share_id, is_public=bool(is_public))
    _write_instance(call, data, share_type, share_id, instance_id)
    _hand_over(call, data, share_type, share_id, instance_id)
    return share_views.detail(call, share_id)


def unmanage(call: Call, share_id: str, argument: object = None) -> Answer:
    """Give a share up; its bytes stay where they are."""
    del argument
    call.allow("share:unmanage")
    share = visible_share(call, share_id)
    _refuse_soft_deleted(share)
    refuse_replicated(
        call, share, f"Share {share_id} has replicas. It cannot be unmanaged until all replicas are removed."
    )
    if share["share_server_id"] and call.version < since(49):
        raise NotAllowed(
            "Operation 'unmanage' is not supported for shares that are created on top of share servers (created with "
            "share-networks)."
        )
    refuse_busy(share)
    moved = _move(call, share["instance_id"], _UNMANAGEABLE, Status.UNMANAGE_STARTING) or _move(
        call, share["instance_id"], (Status.MANAGE_ERROR,), Status.MANAGE_ERROR_UNMANAGE_STARTING
    )
    if not moved:
        raise NotAllowed(
            f"Share with transitional state can not be unmanaged. Share '{share_id}' is in '{share['status']}' state."
        )
    # It may have got into the recycle bin before it was moved.
    _refuse_soft_deleted(visible_share(call, share_id))
    snapshots = shares.snapshots_of(call.session, share_id)
    if snapshots:
        raise NotAllowed(f"Share '{share_id}' can not be unmanaged because it has '{snapshots}' dependent snapshot(s).")
    locks.refuse_if_locked(call.session, share_id)
    hints.forget(call.session, share_id)
    if share["host"]:
        _enqueue(call, Kind.UNMANAGE_SHARE, share["host"], share_id, {"instance_id": share["instance_id"]})
    else:
        results.forget_share(call.session, share["instance_id"])
    return Answer(202)


def _refuse_soft_deleted(share: Row) -> None:
    if share["is_soft_deleted"]:
        raise NotAllowed(f"Share '{share['id']} cannot be unmanaged, since it has been soft deleted.")


def _write_share(call: Call, data: _Data, share_type: ShareType, share_id: str, *, is_public: bool) -> None:
    call.session.execute(
        insert(ShareRow).values(
            id=share_id,
            project_id=call.project_id,
            user_id=call.caller.user_id,
            name=text(data, "display_name", "name"),
            description=text(data, "display_description", "description"),
            # The back end tells the size; until then nothing is counted for it.
            size=0,
            protocol=data["protocol"].upper(),
            is_public=is_public,
            created_at=call.now,
            **creating.features(share_type),
        )
    )


def _write_instance(call: Call, data: _Data, share_type: ShareType, share_id: str, instance_id: str) -> None:
    mount_name = text(data, "mount_point_name") if call.version >= since(92) else None
    call.session.execute(
        insert(InstanceRow).values(
            id=instance_id,
            share_id=share_id,
            host=data["service_host"],
            status=Status.MANAGE_STARTING,
            access_rules_status=RulesStatus.ACTIVE,
            replica_state=replicas.first_state(share_type.specs.get("replication_type")),
            availability_zone=_zone(call, data["service_host"]),
            share_type_id=share_type.id,
            mount_point_name=None if mount_name is None else prefixed_mount_point_name(call, mount_name, share_type),
            scheduled_at=call.now,
            created_at=call.now,
        )
    )
    call.session.execute(
        insert(ExportRow).values(
            id=str(uuid.uuid4()),
            instance_id=instance_id,
            position=0,
            path=data["export_path"],
            created_at=call.now,
        )
    )


def _hand_over(call: Call, data: _Data, share_type: ShareType, share_id: str, instance_id: str) -> None:
    host, options = data["service_host"], data.get("driver_options") or {}
    specs, protocol = share_type.specs, data["protocol"]
    if placing.fits(call.session, call.conf, host=host, specs=specs, protocol=protocol, now=call.now):
        _enqueue(call, Kind.MANAGE_SHARE, host, share_id, {"instance_id": instance_id, "driver_options": options})
        return
    _move(call, instance_id, (Status.MANAGE_STARTING,), Status.MANAGE_ERROR)
    messages.say(
        call.session,
        project_id=call.project_id,
        action=Action.CREATE,
        detail=Detail.FILTER_CAPABILITIES,
        resource_id=share_id,
        request_id=call.request_id,
        text=f"Pool {host} is not there or does not have what share type {share_type.name} asks for.",
        now=call.now,
    )


def _move(call: Call, instance_id: str, of: tuple[Status, ...], to: Status) -> bool:
    return move(call.session, InstanceRow, instance_id, of=of, to=to, now=call.now, terminated_at=call.now)


def _checked(call: Call) -> dict[str, Any]:
    data = call.body().get("share")
    if not isinstance(data, dict):
        raise Unprocessable("Share entity not found in request body")
    for name in ("export_path", "service_host", "protocol"):
        if name not in data:
            raise Unprocessable(f"Required parameter {name} not found")
        if not data[name]:
            raise Unprocessable(f"Required parameter {name} is empty")
    path = data["export_path"]
    if isinstance(path, dict):
        if "path" not in path:
            raise Unprocessable("Export path must be a string, or a dictionary with a 'path' item")
        path = path["path"]
    found = {**data, "export_path": path}
    for name in ("export_path", "service_host", "protocol"):
        text(found, name, longest=_LONGEST_PATH if name == "export_path" else 255)
    if not found["service_host"].partition("#")[2]:
        raise InvalidInput("service_host parameter should contain pool.")
    if not isinstance(data.get("driver_options") or {}, dict):
        raise InvalidInput("driver_options must be an object.")
    return found


def check_service(call: Call, host: str) -> None:
    """Raise `NotFound` if no manager serves the host's back end, `InvalidInput` if it is down."""
    backend = jobs.backend_of(host)
    service = call.session.execute(select(ServiceRow.heartbeat_at).where(ServiceRow.host == backend)).first()
    if service is None:
        raise NotFound(f"Service {backend} could not be found.")
    alive = call.now - timedelta(seconds=call.conf.shares.service_down_time)
    if service.heartbeat_at is None or service.heartbeat_at < alive:
        raise InvalidInput(f"Service {backend} is down.")


def _share_type(call: Call, data: Mapping[str, Any]) -> ShareType:
    asked = text(data, "share_type")
    if asked is None:
        found = share_type_facts.default(call.session, call.conf.shares.default_share_type)
    else:
        found = share_type_facts.usable(call.session, asked, None if call.is_admin else call.project_id)
    if found is None:
        raise NotFound(f"Share type {asked} could not be found.")
    return found


def _check_server(share_type: ShareType, server: object) -> None:
    has_servers = share_type.says("driver_handles_share_servers")
    if has_servers and not server:
        raise InvalidInput(
            "Invalid input received: Share Server ID parameter is required when managing a share using a share type "
            "with driver_handles_share_servers extra-spec set to True.."
        )
    if server and not has_servers:
        raise InvalidInput(
            "Invalid input received: Share Server ID parameter is not expected when managing a share using a share "
            "type with driver_handles_share_servers extra-spec set to False.."
        )
    if server:
        raise InvalidInput("Invalid input received: Share Server specified was not found.")


def _refuse_managed(call: Call, host: str, path: str) -> None:
    # Two calls at once for one path: the second sees what the first has written.
    call.session.execute(select(ServiceRow.id).where(ServiceRow.host == jobs.backend_of(host)).with_for_update())
    known = (
        select(InstanceRow.id)
        .join(ExportRow, ExportRow.instance_id == InstanceRow.id)
        .where(ExportRow.path == path)
        .where(or_(InstanceRow.host == host, InstanceRow.host.startswith(f"{host}#", autoescape=True)))
    )
    if call.session.scalar(known.limit(1)) is not None:
        raise Conflict("Invalid share: A share already exists with the export path specified..")


def _zone(call: Call, host: str) -> str | None:
    return call.session.scalar(select(ServiceRow.availability_zone).where(ServiceRow.host == jobs.backend_of(host)))


def _enqueue(call: Call, kind: Kind, host: str, share_id: str, argument: Mapping[str, Any]) -> None:
    jobs.enqueue(
        call.session,
        host=host,
        kind=kind,
        subject=share_id,
        argument=argument,
        project_id=call.project_id,
        request_id=call.request_id,
        now=call.now,
    )


_LEGACY = since(6)
ROUTES = (
    Route("POST", "/shares/manage", manage, since=since(7)),
    Route("POST", "/os-share-manage", manage, until=_LEGACY),
    Route("POST", "/os-share-unmanage/{share_id}/unmanage", unmanage, until=_LEGACY),
)
