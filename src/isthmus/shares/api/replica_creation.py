"""Adding a replica to a share: checked in Manila's order, then written, placed and handed to a back end."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from isthmus.control.errors import InvalidInput, NotAllowed, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import QuotaExceeded, Unprocessable
from isthmus.shares.api.metadata import checked
from isthmus.shares.api.networks_lookup import refuse_inactive
from isthmus.shares.api.replica_views import METADATA_SINCE, detailed
from isthmus.shares.api.share_lookup import held_share, refuse_busy, refuse_soft_deleted, visible_share
from isthmus.shares.api.share_requests import text
from isthmus.shares.api.versions import since
from isthmus.shares.messages import Action, Detail, Resource
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import instances, jobs, messages, networks, placing, qos_types, replicas, usage
from isthmus.shares.store import share_type_facts as types
from isthmus.shares.store.moving import hold
from isthmus.shares.store.placing import Placement, PlacementRequest
from isthmus.shares.store.replicas import NewReplica
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.store.shares import Row
from isthmus.shares.tables import AvailabilityZoneRow, InstanceRow

_OVER = {
    "share_replicas": "Maximum number of allowed share-replicas is exceeded.",
    "replica_gigabytes": "Requested share replica exceeds allowed project/user or share type gigabytes quota.",
}


@dataclass(frozen=True)
class _Asked:
    """What is asked for, as far as it could be read."""

    zone: str | None
    network_id: str | None
    only_host: str | None
    metadata: Mapping[str, str]


def create(call: Call) -> Answer:
    """Add a replica to a share."""
    call.allow("share_replica:create")
    data = call.body().get("share_replica")
    if not isinstance(data, dict):
        raise Unprocessable("Body does not contain 'share_replica' information.")
    share = _share(call, data)
    asked = _asked(call, data, share)
    _refuse_unfit(share)
    # Held from here on, so no snapshot, extension or other replica comes between.
    if not hold(call.session, InstanceRow, share["instance_id"], of=[Status.AVAILABLE]) or not _has_active(call, share):
        raise InvalidInput(
            f"Unable to perform a replication action: Share {share['id']} does not have any active replica in "
            "available state.."
        )
    share = held_share(call, share, "Replica cannot be created for share")
    share_type = types.of_id(call.session, share["share_type_id"]) or ShareType("", "")
    zones = _zones(call, share_type, asked)
    _check_quality(call, share_type)
    _take_quota(call, share)
    return Answer(202, {"share_replica": detailed(call, [_made(call, share, share_type, asked, zones)])[0]})


def _share(call: Call, data: Mapping[str, Any]) -> Row:
    share_id = data.get("share_id")
    if not share_id or not isinstance(share_id, str):
        raise InvalidInput("Must provide Share ID to add replica.")
    try:
        share = visible_share(call, share_id, to_change=True)
    except NotFound:
        raise NotFound(f"No share exists with ID {share_id}.") from None
    refuse_soft_deleted(share, "Replica cannot be created for share")
    if share["encryption_key_ref"]:
        raise NotAllowed(f"Replica cannot be created for share '{share_id}' since it is encrypted.")
    return share


def _asked(call: Call, data: Mapping[str, Any], share: Row) -> _Asked:
    network_id = text(data, "share_network_id")
    if network_id and call.version < since(72):
        raise InvalidInput(
            "'share_network_id' option is not supported by this microversion. Use 2.72 or greater microversion to be "
            "able to use 'share_network_id'."
        )
    network_id = network_id or share["share_network_id"]
    if network_id:
        network = networks.find(call.session, network_id)
        if network is None or not (call.is_admin or network["project_id"] == call.project_id):
            raise InvalidInput(f"No share network exists with ID {network_id}.")
        refuse_inactive(network)
    return _Asked(
        zone=text(data, "availability_zone"),
        network_id=network_id,
        only_host=_only_host(call, data),
        metadata=checked(data.get("metadata")) if call.version >= METADATA_SINCE else {},
    )


def _only_host(call: Call, data: Mapping[str, Any]) -> str | None:
    hints = data.get("scheduler_hints") if call.version >= since(67) else None
    if not hints:
        return None
    if not isinstance(hints, dict) or set(hints) != {"only_host"}:
        raise InvalidInput("Invalid input received: Arg 'scheduler_hints' supports only 'only_host' key..")
    return text(hints, "only_host")


def _refuse_unfit(share: Row) -> None:
    if not share["replication_type"]:
        raise InvalidInput(f"Replication not supported for share {share['id']}.")
    if share["share_group_id"]:
        raise InvalidInput("Replication not supported for shares in a group.")
    refuse_busy(share)


def _has_active(call: Call, share: Row) -> bool:
    found = replicas.active_of(replicas.instances_of(call.session, share["id"]))
    return any(each["status"] == Status.AVAILABLE and each["host"] for each in found)


def _zones(call: Call, share_type: ShareType, asked: _Asked) -> tuple[str, ...]:
    """Return the zones that the replica may lie in; empty is any."""
    if asked.zone is not None:
        known = or_(AvailabilityZoneRow.name == asked.zone, AvailabilityZoneRow.id == asked.zone)
        name = call.session.scalar(select(AvailabilityZoneRow.name).where(known))
        if share_type.zones and (name or asked.zone) not in share_type.zones:
            raise InvalidInput(
                f"Share replica cannot be created since the share type {share_type.name}(ID: {share_type.id}) is not "
                f"supported within the availability zone chosen {asked.zone}."
            )
        if name is None:
            raise InvalidInput(f"Availability zone {asked.zone} could not be found.")
        return (name,)
    return share_type.zones


def _check_quality(call: Call, share_type: ShareType) -> None:
    named = share_type.specs.get("default_qos_type")
    if named and not qos_types.exists(call.session, named):
        raise InvalidInput(
            f"Invalid input received: Share type {share_type.name} extra-specs 'default_qos_type' specified qos_type "
            "does not exist.."
        )


def _take_quota(call: Call, share: Row) -> None:
    owner = usage.Owner(share["project_id"], share["user_id"], share["share_type_id"])
    over = usage.take(call.session, call.conf, owner, replicas.deltas(share["replication_type"], share["size"]))
    if over is not None:
        raise QuotaExceeded(_OVER[over.resource])


def _made(call: Call, share: Row, share_type: ShareType, asked: _Asked, zones: tuple[str, ...]) -> Row:
    placed = _placed(call, share, share_type, asked, zones)
    zone = placed.availability_zone or (zones[0] if asked.zone is not None else None)
    new = NewReplica(str(uuid.uuid4()), placed.host, zone, asked.network_id, asked.metadata)
    replicas.make(call.session, share, new, call.now)
    if new.host is None:
        _say_why(call, share, new, placed)
    else:
        _have_it_made(call, share, new, new.host)
    found = instances.read(call.session, new.instance_id)
    if found is None:
        raise AssertionError(f"replica {new.instance_id} was written and is not there")
    return found


def _placed(call: Call, share: Row, share_type: ShareType, asked: _Asked, zones: tuple[str, ...]) -> Placement:
    if asked.network_id and not share_type.says("driver_handles_share_servers"):
        return Placement(None)
    hosts = tuple(each["host"] for each in replicas.instances_of(call.session, share["id"]) if each["host"])
    wanted = PlacementRequest(
        share_id=share["id"],
        project_id=share["project_id"],
        size_gib=share["size"],
        protocol=share["protocol"],
        extra_specs=share_type.specs,
        share=placing.share_facts(share["id"], share["size"], share["protocol"], share["project_id"]),
        availability_zones=zones,
        only_host=asked.only_host,
        active_host=share["host"],
        replica_hosts=hosts,
    )
    return placing.place(call.session, call.conf, wanted, call.now)


def _have_it_made(call: Call, share: Row, new: NewReplica, host: str) -> None:
    jobs.enqueue(
        call.session,
        host=host,
        kind=Kind.CREATE_REPLICA,
        subject=share["id"],
        argument={"instance_id": new.instance_id},
        project_id=share["project_id"],
        request_id=call.request_id,
        now=call.now,
    )


def _say_why(call: Call, share: Row, new: NewReplica, placed: Placement) -> None:
    misplaced = placed.emptied_by is None
    messages.say(
        call.session,
        project_id=share["project_id"],
        action=Action.CREATE if misplaced else Action.ALLOCATE_HOST,
        detail=Detail.UNEXPECTED_NETWORK if misplaced else placed.detail,
        resource_id=new.instance_id,
        resource_type=Resource.SHARE_REPLICA,
        request_id=call.request_id,
        text=None if misplaced else placed.reason,
        now=call.now,
    )
