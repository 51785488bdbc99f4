"""Who may mount a snapshot (2.32): rules of its own, always read-only."""

from typing import Any

from sqlalchemy import and_, select, update

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api.access_targets import check_target, is_same_client
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.lists import rows
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.api.snapshot_reading import find
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row
from isthmus.shares.model import Kind, RuleState, Status
from isthmus.shares.store import jobs, snapshots
from isthmus.shares.store.moving import hold
from isthmus.shares.tables import InstanceRow, SnapshotInstanceRow, SnapshotRuleRow, SnapshotRuleStateRow

_SINCE_IPV6 = since(38)
_COLUMNS: tuple[Any, ...] = (
    SnapshotRuleRow.id,
    SnapshotRuleRow.access_type,
    SnapshotRuleRow.access_to,
    SnapshotRuleStateRow.state,
)


def access_list(call: Call, snapshot_id: str) -> dict[str, Any]:
    """List a snapshot's rules."""
    call.allow("share_snapshot:access_list")
    _mountable_parent(call, find(call, snapshot_id))
    return {"snapshot_access_list": [_shown(row) for row in _rules(call, snapshot_id)]}


def allow(call: Call, snapshot_id: str, argument: Any) -> Answer:
    """Let a client mount a snapshot."""
    call.allow("share_snapshot:allow_access")
    access_type, access_to = _needed(argument, "access_type"), _needed(argument, "access_to")
    check_target(access_type, access_to, cephx=False, ipv6=call.version >= _SINCE_IPV6)
    row = find(call, snapshot_id)
    share = _governed_parent(call, row)
    _hold(call, row, "New access rules cannot be applied")
    for rule in _rules(call, snapshot_id):
        if rule["access_type"] == access_type and is_same_client(access_type, rule["access_to"], access_to):
            raise InvalidInput(f"Share snapshot access {access_type}:{access_to} exists.")
    made = snapshots.make_rule(
        call.session,
        snapshot_id=snapshot_id,
        access_type=access_type,
        access_to=access_to,
        now=call.now,
    )
    _enqueue(call, share, row)
    facts = {"id": made, "access_type": access_type, "access_to": access_to, "state": RuleState.QUEUED_TO_APPLY}
    return Answer(202, {"snapshot_access": facts})


def deny(call: Call, snapshot_id: str, argument: Any) -> Answer:
    """Let a client mount a snapshot no longer."""
    call.allow("share_snapshot:deny_access")
    access_id = _needed(argument, "access_id")
    row = find(call, snapshot_id)
    share = _governed_parent(call, row)
    of = call.session.scalar(select(SnapshotRuleRow.snapshot_id).where(SnapshotRuleRow.id == access_id))
    if of is None:
        raise NotFound(f"Access rule {access_id} could not be found.")
    if of != snapshot_id:
        raise InvalidInput("Access rule provided is not associated with given snapshot.")
    _hold(call, row, "Access rules cannot be denied")
    call.session.execute(
        update(SnapshotRuleStateRow)
        .where(SnapshotRuleStateRow.rule_id == access_id)
        .values(state=RuleState.QUEUED_TO_DENY)
    )
    _enqueue(call, share, row)
    return Answer(202)


def _needed(argument: Any, name: str) -> str:
    if not isinstance(argument, dict):
        raise InvalidInput("Access data not found in request body.")
    if name not in argument:
        raise InvalidInput(f"Required parameter {name} not found.")
    value = argument[name]
    if not value:
        raise InvalidInput(f"Required parameter {name} is empty.")
    if not isinstance(value, str):
        raise InvalidInput(f"Parameter {name} must be a string.")
    return value


def _mountable_parent(call: Call, row: Row) -> Row:
    share = visible_share(call, row["share_id"])
    if not share["mount_snapshot_support"]:
        raise InvalidInput(
            f"Cannot control access to the snapshot {row['id']} since the parent share {share['id']} does not "
            "support mounting its snapshots."
        )
    return share


def _governed_parent(call: Call, row: Row) -> Row:
    share = _mountable_parent(call, row)
    if share["snapshot_inherit_share_access_support"]:
        raise InvalidInput(
            f"Cannot modify access rules for the snapshot {row['id']} since the parent share {share['id']} has "
            "snapshot_inherit_share_access_support enabled. Snapshot access rules are inherited from the base share."
        )
    return share


def _hold(call: Call, row: Row, what: str) -> None:
    if not hold(call.session, SnapshotInstanceRow, row["snapshot_instance_id"], of=[Status.AVAILABLE]):
        raise InvalidInput(
            f"Invalid share snapshot instance: {what} while the snapshot or any of its replicas or migration copies "
            "lacks a valid host or is not in available state."
        )


def _rules(call: Call, snapshot_id: str) -> list[Row]:
    statement = (
        select(*_COLUMNS)
        .join(SnapshotRuleStateRow, SnapshotRuleStateRow.rule_id == SnapshotRuleRow.id)
        .join(SnapshotInstanceRow, SnapshotInstanceRow.id == SnapshotRuleStateRow.snapshot_instance_id)
        .join(InstanceRow, and_(InstanceRow.id == SnapshotInstanceRow.instance_id, InstanceRow.is_primary))
        .where(SnapshotRuleRow.snapshot_id == snapshot_id)
        .order_by(SnapshotRuleRow.created_at, SnapshotRuleRow.id)
    )
    return rows(call.session, statement)


def _shown(row: Row) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "access_type", "access_to", "state")}


def _enqueue(call: Call, share: Row, row: Row) -> None:
    for instance_id, host in snapshots.places_of(call.session, row["id"]):
        jobs.enqueue(
            call.session,
            host=host,
            kind=Kind.UPDATE_SNAPSHOT_ACCESS,
            subject=share["id"],
            argument={"snapshot_instance_id": instance_id},
            now=call.now,
            project_id=call.project_id,
            request_id=call.request_id,
        )
