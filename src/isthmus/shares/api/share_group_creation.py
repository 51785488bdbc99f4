"""Creating a share group (2.31): empty in the best pool for its share types, or with copies of a snapshot's members."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oslo_utils.uuidutils import is_uuid_like
from sqlalchemy import or_, select

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.api.lists import first
from isthmus.shares.api.quota_faults import take_quota
from isthmus.shares.api.texts import text_of
from isthmus.shares.api.views import Row
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import creating, group_snapshots, groups, jobs, share_type_facts, usage
from isthmus.shares.store.creating import NewShare
from isthmus.shares.store.groups import GroupType, NewGroup, Place
from isthmus.shares.store.moving import hold
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.tables import AvailabilityZoneRow, GroupRow, GroupSnapshotRow, NetworkRow

SOURCE = "source_share_group_snapshot_id"
_FIELDS = frozenset(
    {
        "name",
        "description",
        "share_types",
        "share_group_type_id",
        SOURCE,
        "share_network_id",
        "availability_zone",
    }
)


@dataclass(frozen=True)
class _Origin:
    """The group and its snapshot that a group is made from."""

    snapshot: Row
    group: Row


def create(call: Call, data: Mapping[str, Any]) -> str:
    """Check what is asked for in Manila's order, write the group and have it made; return its id."""
    _check_fields(data)
    asked = _asked_types(call, data)
    zone = _zone(call, data)
    _check_ids(data)
    group_type_id = _group_type_id(call, data)
    origin = _origin(call, data)
    if origin is not None:
        asked = groups.share_types_of(call.session, [origin.group["id"]])[origin.group["id"]]
    network_id = origin.group["share_network_id"] if origin is not None else data.get("share_network_id")
    share_types = [_share_type(call, each) for each in asked]
    _check_network(call, share_types, network_id, has_source=origin is not None)
    group_type = _group_type(call, group_type_id, asked)
    zones = _zones(share_types, zone)
    take_quota(call, usage.Owner(call.project_id, call.caller.user_id), {"share_groups": 1})
    facts: dict[str, Any] = {
        "project_id": call.project_id,
        "user_id": call.caller.user_id,
        "name": text_of(data, "name"),
        "description": text_of(data, "description"),
        "group_type_id": group_type.id,
        "share_type_ids": asked,
        "share_network_id": network_id,
    }
    if origin is not None:
        return _copy(call, origin, facts, share_types)
    pool = groups.choose_pool(call.session, call.conf, Place(group_type.specs, share_types, zone, zones), call.now)
    new = NewGroup(
        host=None if pool is None else pool.host,
        availability_zone=zone if pool is None else pool.availability_zone,
        consistent_snapshot_support=None if pool is None else pool.capabilities.get(f"sg_{groups.CONSISTENT}"),
        **facts,
    )
    return _write(call, new)


def _write(call: Call, new: NewGroup) -> str:
    identity = groups.make(call.session, new, call.now)
    if new.host is not None:
        jobs.enqueue(
            call.session,
            host=new.host,
            kind=Kind.CREATE_GROUP,
            subject=identity,
            argument={"group_id": identity},
            now=call.now,
            project_id=call.project_id,
            request_id=call.request_id,
        )
    return identity


def _copy(call: Call, origin: _Origin, facts: Mapping[str, Any], share_types: Sequence[ShareType]) -> str:
    """Write a group with a share for each member of the snapshot, all in the pool of the group it is of."""
    group, by_id = origin.group, {each.id: each for each in share_types}
    new = NewGroup(
        host=group["host"],
        availability_zone=group["availability_zone"],
        consistent_snapshot_support=group["consistent_snapshot_support"],
        source_snapshot_id=origin.snapshot["id"],
        **facts,
    )
    identity = _write(call, new)
    for member in group_snapshots.members_of(call.session, origin.snapshot["id"]):
        owner = usage.Owner(call.project_id, call.caller.user_id, member.share_type_id)
        take_quota(call, owner, {"gigabytes": member.size, "shares": 1})
        share = NewShare(
            project_id=call.project_id,
            user_id=call.caller.user_id,
            size_gib=member.size,
            protocol=member.protocol,
            share_type=by_id.get(member.share_type_id or ""),
            availability_zone=group["availability_zone"],
            share_group_id=identity,
            share_network_id=group["share_network_id"],
            fixed_host=group["host"],
            group_snapshot_member_id=member.id,
        )
        creating.create(call.session, call.conf, share, call.now, call.request_id)
    return identity


def _check_fields(data: Mapping[str, Any]) -> None:
    unknown = data.keys() - _FIELDS
    if unknown:
        raise InvalidInput(f"The fields {unknown} are invalid.")
    if SOURCE not in data:
        return
    if "share_types" in data:
        raise InvalidInput(f"Cannot supply both 'share_types' and '{SOURCE}' attributes.")
    if "share_network_id" in data:
        raise InvalidInput(
            f"Cannot supply both 'share_network_id' and '{SOURCE}' attributes as the share network is inherited from "
            "the source."
        )
    if data.get("availability_zone"):
        raise InvalidInput(
            f"Cannot supply both 'availability_zone' and '{SOURCE}' attributes as the availability zone is inherited "
            "from the source."
        )


def _asked_types(call: Call, data: Mapping[str, Any]) -> list[str]:
    """Return the ids of the share types that are asked for, or of the default one; none with a source."""
    given = data.get("share_types")
    if given:
        if not isinstance(given, list) or not all(is_uuid_like(each) for each in given):
            raise InvalidInput("The 'share_types' attribute must be a list of uuids")
        return list(dict.fromkeys(str(each) for each in given))
    if SOURCE in data:
        return []
    default = share_type_facts.default(call.session, call.conf.shares.default_share_type)
    if default is None:
        raise InvalidInput("Must specify at least one share type as a default share type has not been configured.")
    return [default.id]


def _zone(call: Call, data: Mapping[str, Any]) -> str | None:
    asked = data.get("availability_zone")
    if not asked:
        return None
    named = or_(AvailabilityZoneRow.name == str(asked), AvailabilityZoneRow.id == str(asked))
    name = call.session.scalar(select(AvailabilityZoneRow.name).where(named))
    if name is None:
        raise NotFound(f"Availability zone {asked} could not be found.")
    return name


def _check_ids(data: Mapping[str, Any]) -> None:
    for name in (SOURCE, "share_network_id", "share_group_type_id"):
        if name in data and not is_uuid_like(data[name]):
            raise InvalidInput(f"The '{name}' attribute must be a uuid.")


def _group_type_id(call: Call, data: Mapping[str, Any]) -> str:
    if "share_group_type_id" in data:
        return str(data["share_group_type_id"])
    name = call.conf.shares.default_share_group_type
    default = groups.group_type(call.session, project_id=None, name=name) if name else None
    if default is None:
        raise InvalidInput("Must specify a share group type as a default share group type has not been configured.")
    return default.id


def _origin(call: Call, data: Mapping[str, Any]) -> _Origin | None:
    if SOURCE not in data:
        return None
    identity = str(data[SOURCE])
    table, group_table = GroupSnapshotRow.__table__, GroupRow.__table__
    snapshot = first(call.session, select(table).where(table.c.id == identity))
    if snapshot is None or not (call.is_admin or snapshot["project_id"] == call.project_id):
        raise InvalidInput(f"Share group snapshot {identity} could not be found.")
    # It must not go before its copies are written.
    if not hold(call.session, GroupSnapshotRow, identity, of=[Status.AVAILABLE]):
        raise Conflict("Invalid share group snapshot: Share group snapshot status must be available.")
    group = first(call.session, select(group_table).where(group_table.c.id == snapshot["share_group_id"]))
    if group is None:
        raise InvalidInput(f"Share group {snapshot['share_group_id']} could not be found.")
    return _Origin(snapshot, group)


def _share_type(call: Call, type_id: str) -> ShareType:
    found = share_type_facts.usable(call.session, type_id, None if call.is_admin else call.project_id)
    if found is None:
        raise InvalidInput(f"Share type with id {type_id} could not be found.")
    return found


def _check_network(call: Call, share_types: Sequence[ShareType], network_id: str | None, *, has_source: bool) -> None:
    handles = {each.says("driver_handles_share_servers") for each in share_types}
    if len(handles) > 1:
        raise InvalidInput(
            "Invalid input received: The specified share_types cannot have conflicting values for the "
            "driver_handles_share_servers extra spec."
        )
    if handles == {False} and network_id:
        raise InvalidInput(
            "Invalid input received: When using a share types with the driver_handles_share_servers extra spec as "
            "False, a share_network_id must not be provided."
        )
    if network_id:
        _check_active(call, network_id)
    if handles == {True} and not (has_source or network_id):
        raise InvalidInput(
            "Invalid input received: When using a share type with the driver_handles_share_servers extra spec as "
            "True, a share_network_id must be provided."
        )


def _check_active(call: Call, network_id: str) -> None:
    row = call.session.execute(
        select(NetworkRow.status, NetworkRow.project_id).where(NetworkRow.id == network_id)
    ).first()
    if row is None or not (call.is_admin or row.project_id == call.project_id):
        raise InvalidInput("Invalid input received: The specified share network does not exist.")
    if row.status != "active":
        raise InvalidInput(
            f"The share network {network_id} used isn't in an 'active' state. Current status is {row.status}. The "
            "action may be retried after the share network has changed its state."
        )


def _group_type(call: Call, type_id: str, share_type_ids: Sequence[str]) -> GroupType:
    project_id = None if call.is_admin else call.project_id
    found = groups.group_type(call.session, project_id=project_id, type_id=type_id)
    if found is None:
        raise InvalidInput(f"Invalid input received: The specified share group type {type_id} does not exist.")
    if not set(share_type_ids) <= set(found.share_type_ids):
        raise InvalidInput(
            "Invalid input received: The specified share types must be a subset of the share types supported by the "
            "share group type."
        )
    return found


def _zones(share_types: Sequence[ShareType], zone: str | None) -> tuple[str, ...]:
    """Return the zones that the share types allow; refuse a zone that one of them does not."""
    elsewhere = [each for each in share_types if zone and each.zones and zone not in each.zones]
    if elsewhere:
        names = ", ".join(f"{each.name} (ID: {each.id})" for each in elsewhere)
        raise InvalidInput(
            "Invalid input received: Share group cannot be created since the following share types are not supported "
            f"within the availability zone '{zone}': ({names})."
        )
    return tuple(dict.fromkeys(name for each in share_types for name in each.zones))
