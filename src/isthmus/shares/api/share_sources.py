"""What a new share comes from or belongs to: a snapshot, a group, a share network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.api.share_requests import text
from isthmus.shares.api.versions import since
from isthmus.shares.model import ReplicaState, Status
from isthmus.shares.store.moving import hold
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.tables import (
    AvailabilityZoneRow,
    GroupRow,
    GroupShareTypeRow,
    InstanceRow,
    NetworkRow,
    SnapshotInstanceRow,
    SnapshotRow,
    SubnetRow,
)


@dataclass(frozen=True)
class Source:
    """What was found. `zone` is that of the group or the snapshot's share, `share_type_id` that share's type."""

    snapshot_id: str | None = None
    snapshot_size: int | None = None
    snapshot_host: str | None = None
    share_type_id: str | None = None
    group_id: str | None = None
    group_status: str | None = None
    group_network_id: str | None = None
    network_id: str | None = None
    zone: str | None = None
    fixed_host: str | None = None


def find(call: Call, data: Mapping[str, Any], zone: str | None) -> Source:
    """Return what the new share comes from and belongs to; raises what Manila answers where that cannot be."""
    group = _group(call, data, zone)
    snapshot = _snapshot(call, data)
    network_id = text(data, "share_network_id")
    parent: Mapping[str, Any] = {}
    if snapshot:
        parent = _parent(call, snapshot, zone)
        if network_id and network_id != parent["share_network_id"]:
            raise InvalidInput("Share network ID should be the same as snapshot's parent share's or empty")
        network_id = network_id or parent["share_network_id"]
    if network_id:
        _check_network(call, network_id, zone)
    anywhere = call.conf.shares.use_scheduler_creating_share_from_snapshot
    return Source(
        snapshot_id=snapshot.get("id"),
        snapshot_size=snapshot.get("size"),
        snapshot_host=parent.get("host"),
        share_type_id=parent.get("share_type_id"),
        group_id=group.get("id"),
        group_status=group.get("status"),
        group_network_id=group.get("share_network_id"),
        network_id=network_id,
        zone=group.get("availability_zone") or (zone if anywhere else parent.get("availability_zone")),
        fixed_host=(None if anywhere else parent.get("host")) or group.get("host"),
    )


def check_group(call: Call, source: Source, share_type: ShareType | None) -> None:
    """Raise `InvalidInput` if the group cannot take a share of this type now."""
    if source.group_id is None:
        return
    if source.group_status != Status.AVAILABLE:
        raise InvalidInput(f"Share group status must be {Status.AVAILABLE}, got {source.group_status}.")
    if share_type is not None:
        held = call.session.scalars(
            select(GroupShareTypeRow.share_type_id).where(GroupShareTypeRow.group_id == source.group_id)
        )
        if share_type.id not in set(held):
            raise InvalidInput(
                f"The specified share type ({share_type.id}) is not supported by the specified share group "
                f"({source.group_id})."
            )
    if source.group_network_id != source.network_id:
        raise InvalidInput(
            f"The specified share network ({source.network_id}) is not supported by the specified share group "
            f"({source.group_id})."
        )
    # The group must not go while the share joins it.
    if not hold(call.session, GroupRow, source.group_id, of=[Status.AVAILABLE]):
        raise InvalidInput(f"Share group {source.group_id} is no longer {Status.AVAILABLE}.")


def _group(call: Call, data: Mapping[str, Any], zone: str | None) -> Mapping[str, Any]:
    group_id = text(data, "share_group_id") if call.version >= since(31) else None
    if group_id is None:
        return {}
    group = call.session.execute(select(GroupRow.__table__).where(GroupRow.id == group_id)).mappings().first()
    if group is None or not (call.is_admin or group["project_id"] == call.project_id):
        raise NotFound(f"Share group {group_id} could not be found.")
    if zone is not None and zone != group["availability_zone"]:
        raise InvalidInput(
            f"Invalid input received: Share cannot have AZ ('{zone}') different than share group's one "
            f"({group['availability_zone']})."
        )
    return dict(group)


def _snapshot(call: Call, data: Mapping[str, Any]) -> Mapping[str, Any]:
    snapshot_id = text(data, "snapshot_id")
    if snapshot_id is None:
        return {}
    row = call.session.execute(select(SnapshotRow.__table__).where(SnapshotRow.id == snapshot_id)).mappings().first()
    if row is None or not call.may("share_snapshot:get_snapshot", {"project_id": row["project_id"]}):
        raise NotFound(f"Snapshot {snapshot_id} could not be found.")
    return dict(row)


def _parent(call: Call, snapshot: Mapping[str, Any], zone: str | None) -> Mapping[str, Any]:
    parent = visible_share(call, snapshot["share_id"])
    if call.version >= since(24) and not parent["create_share_from_snapshot_support"]:
        raise InvalidInput(
            f"A new share may not be created from snapshot '{snapshot['id']}', because the snapshot's parent share "
            "does not have that capability."
        )
    anywhere = call.conf.shares.use_scheduler_creating_share_from_snapshot
    if zone is not None and zone != parent["availability_zone"] and not anywhere:
        raise InvalidInput(
            "Invalid input received: The specified availability zone must be the same as the parent share when "
            "creating from snapshot."
        )
    # A replica that lags behind does not count.
    whole = or_(
        InstanceRow.replica_state.is_(None), InstanceRow.replica_state.in_([ReplicaState.ACTIVE, ReplicaState.IN_SYNC])
    )
    instances = (
        select(SnapshotInstanceRow.id)
        .join(InstanceRow, InstanceRow.id == SnapshotInstanceRow.instance_id)
        .where(SnapshotInstanceRow.snapshot_id == snapshot["id"], whole)
    )
    # Held until the share is written, so the snapshot is not being deleted at that moment.
    held = [
        hold(call.session, SnapshotInstanceRow, each, of=[Status.AVAILABLE]) for each in call.session.scalars(instances)
    ]
    if not held or not all(held):
        raise InvalidInput(f"Invalid share snapshot: status must be '{Status.AVAILABLE}'.")
    return parent


def _check_network(call: Call, network_id: str, zone: str | None) -> None:
    network = call.session.execute(
        select(NetworkRow.status, NetworkRow.project_id).where(NetworkRow.id == network_id)
    ).first()
    if network is None or not (call.is_admin or network.project_id == call.project_id):
        raise NotFound(f"Share network {network_id} could not be found.")
    if network.status != "active":
        raise InvalidInput(
            f"The share network {network_id} used isn't in an 'active' state. Current status is {network.status}. "
            "The action may be retried after the share network has changed its state."
        )
    zones = select(AvailabilityZoneRow.name) if zone is None else [zone]
    here = or_(SubnetRow.availability_zone.is_(None), SubnetRow.availability_zone.in_(zones))
    subnet = select(SubnetRow.id).where(SubnetRow.share_network_id == network_id, here)
    if zone is not None and call.session.scalar(subnet.limit(1)) is None:
        raise InvalidInput("A share network subnet was not found for the requested availability zone.")
