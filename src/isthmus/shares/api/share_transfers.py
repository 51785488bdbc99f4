"""Transfers of shares between projects (2.77): offered with a key, accepted with it, or withdrawn."""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from oslo_utils.uuidutils import is_uuid_like
from sqlalchemy import insert, select

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.lists import first, narrowed, ordered, paged, rows
from isthmus.shares.api.queries import Order, boolean, flag, order_of, page_of
from isthmus.shares.api.quota_faults import refuse_too_large, take_quota
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_lookup import held_share, refuse_soft_deleted, target_of, visible_share
from isthmus.shares.api.texts import text_of
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row, links, next_link
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import jobs, replicas, share_type_facts, shares, transfers, usage
from isthmus.shares.store.moving import hold, move
from isthmus.shares.store.transfers import SnapshotsOf
from isthmus.shares.tables import InstanceRow, TransferRow

SINCE = since(77)
_TABLE = TransferRow.__table__
_NAMES = ("id", "resource_type", "resource_id", "source_project_id", "destination_project_id")
_FILTERS = {
    **{name: _TABLE.c[name] for name in (*_NAMES, "name")},
    **dict.fromkeys(("display_name", "name~", "display_name~"), _TABLE.c.name),
}
_SORT_KEYS = {
    **{name: _TABLE.c[name] for name in (*_NAMES, "name", "accepted", "created_at", "expires_at")},
    "display_name": _TABLE.c.name,
}
_SHORT = ("id", "name", "resource_type", "resource_id")
_LONG = (
    *("id", "created_at", "name", "resource_type", "resource_id", "source_project_id", "destination_project_id"),
    *("accepted", "expires_at"),
)
_REFUSED = "Transfer cannot be created for share"


def index(call: Call) -> dict[str, Any]:
    """List transfers in short."""
    return _listed(call, _SHORT)


def detail(call: Call) -> dict[str, Any]:
    """List transfers in full."""
    return _listed(call, _LONG)


def _listed(call: Call, fields: tuple[str, ...]) -> dict[str, Any]:
    call.allow("share_transfer:get_all")
    page, order = page_of(call), order_of(call, _SORT_KEYS, Order("created_at"))
    statement = narrowed(select(_TABLE), call, _FILTERS)
    if not (flag(call, "all_tenants") and call.may("share_transfer:get_all_tenant")):
        statement = statement.where(_TABLE.c.source_project_id == call.project_id)
    found = rows(call.session, paged(ordered(statement, _SORT_KEYS, order, _TABLE.c.id), page))
    shown = [_shown(call, row, fields) for row in found]
    return {"transfers": shown, **next_link(call, "transfers", page, len(found))}


def show(call: Call, transfer_id: str) -> dict[str, Any]:
    """Show one transfer."""
    call.allow("share_transfer:get")
    return {"transfer": _shown(call, _own(call, transfer_id), _LONG)}


def create(call: Call) -> Answer:
    """Offer a share to whoever is told the key in the answer."""
    call.allow("share_transfer:create")
    data = _entity(call, "transfer")
    share = _offered(call, data)
    name = text_of(data, "name")
    key, identity = transfers.new_key(), str(uuid.uuid4())
    call.session.execute(
        insert(TransferRow).values(
            id=identity,
            resource_type="share",
            resource_id=share["id"],
            name=name.strip() if name is not None else None,
            salt=key.salt,
            key_hash=key.hash,
            source_project_id=share["project_id"],
            accepted=False,
            created_at=call.now,
            expires_at=call.now + timedelta(seconds=call.conf.shares.transfer_retention_time),
        )
    )
    shown = _shown(call, _own(call, identity), _LONG)
    return Answer(202, {"transfer": shown | {"auth_key": key.key}})


def _offered(call: Call, data: Mapping[str, Any]) -> Row:
    """Return the share that is offered, which from now on awaits its transfer."""
    share_id = data.get("share_id")
    if not share_id:
        raise InvalidInput("Must supply 'share_id' attribute.")
    if not is_uuid_like(share_id):
        raise InvalidInput("The 'share_id' attribute must be a uuid.")
    try:
        share = visible_share(call, str(share_id))
    except NotFound:
        raise InvalidInput("Invalid share: Share specified was not found.") from None
    call.allow("share_transfer:create", target_of(share))
    refuse_soft_deleted(share, _REFUSED)
    mount_point_name = share["mount_point_name"]
    if mount_point_name and mount_point_name.startswith(share["project_id"]):
        raise InvalidInput(
            f"Share {share_id} has a custom mount_point_name {mount_point_name}. This has the project_id encoded in "
            "it. Transferring such a share isn't supported"
        )
    of, to = [Status.AVAILABLE], Status.AWAITING_TRANSFER
    if not move(call.session, InstanceRow, share["instance_id"], of=of, to=to, now=call.now):
        raise InvalidInput("Invalid share: Share's status must be available.")
    share = held_share(call, share, _REFUSED)
    if share["share_network_id"]:
        raise InvalidInput("Invalid share: Shares exported over share networks cannot be transferred.")
    if share["share_group_id"]:
        raise InvalidInput("Invalid share: Shares within share groups cannot be transferred.")
    if share["replication_type"] and replicas.is_replicated(call.session, share["id"]):
        raise InvalidInput("Invalid share: Shares with replicas cannot be transferred.")
    unfit = transfers.snapshots_of(call.session, share["id"]).unfit
    if unfit is not None:
        raise InvalidInput(f"Invalid snapshot: Snapshot: {unfit} status must be available")
    return share


def accept(call: Call, transfer_id: str) -> Answer:
    """Take over an offered share, with its snapshots, by the key."""
    call.allow("share_transfer:accept")
    data = _entity(call, "accept")
    key = data.get("auth_key")
    if not key:
        raise InvalidInput("Must supply 'auth_key' while accepting a share transfer.")
    clear_rules = boolean(data.get("clear_access_rules") or False, "clear_access_rules")
    transfer = first(call.session, select(_TABLE).where(_TABLE.c.id == transfer_id))
    if transfer is None or transfer["expires_at"] <= call.now:
        raise InvalidInput(f"Transfer {transfer_id} could not be found.")
    if not transfers.is_key(str(key), transfer["salt"], transfer["key_hash"]):
        raise InvalidInput(f"Invalid auth key: Attempt to transfer {transfer_id} with invalid auth key.")
    _take_over(call, transfer, clear_rules=clear_rules)
    return Answer(202)


def _take_over(call: Call, transfer: Row, *, clear_rules: bool) -> None:
    share = shares.read(call.session, transfer["resource_id"])
    if share is None:
        raise InvalidInput("Invalid share: Share specified was not found.")
    held = hold(call.session, InstanceRow, share["instance_id"], of=[Status.AWAITING_TRANSFER])
    # Another call, or the end of its time, may have ended the transfer just now.
    if not held or not transfers.end(call.session, transfer["id"]):
        raise InvalidInput(
            f"Invalid share: Transfer {transfer['id']}: share id {share['id']} expected in awaiting_transfer state."
        )
    _check_type(call, share)
    snapshots = transfers.snapshots_of(call.session, share["id"])
    if snapshots.unfit is not None:
        raise InvalidInput(
            f"Invalid snapshot: Transfer {transfer['id']}: Snapshot {snapshots.unfit} is not in the expected "
            "available state."
        )
    _move_usage(call, share, snapshots)
    owner = {"project_id": call.project_id, "user_id": call.caller.user_id}
    transfers.give(call.session, share["id"], now=call.now, **owner)
    _settle(call, share, clear_rules=clear_rules)


def _check_type(call: Call, share: Row) -> None:
    type_id = share["share_type_id"]
    if type_id and share_type_facts.usable(call.session, type_id, call.project_id) is None:
        raise InvalidInput(
            f"Invalid share: Share type of share {share['id']} is not public, and current project can not access "
            "the share type."
        )


def _move_usage(call: Call, share: Row, snapshots: SnapshotsOf) -> None:
    refuse_too_large(call, share["size"], share["share_type_id"])
    type_id = share["share_type_id"]
    whole = {"shares": 1, "gigabytes": share["size"], **replicas.deltas(share["replication_type"], share["size"])}
    taken = dict(whole)
    if snapshots.count:
        taken |= {"snapshots": snapshots.count, "snapshot_gigabytes": snapshots.gib}
    take_quota(call, usage.Owner(call.project_id, call.caller.user_id, type_id), taken)
    donor = usage.Owner(share["project_id"], share["user_id"], type_id)
    usage.give_back(call.session, donor, whole)
    for project_id, user_id, size in snapshots.owners:
        owner = usage.Owner(project_id, user_id, type_id)
        usage.give_back(call.session, owner, {"snapshots": 1, "snapshot_gigabytes": size})


def _settle(call: Call, share: Row, *, clear_rules: bool) -> None:
    """Have the back end note whose the share is; if rules are to go first, the share is available when they have."""
    if not clear_rules or not transfers.deny_all(call.session, share["instance_id"], call.now):
        of = [Status.AWAITING_TRANSFER]
        move(call.session, InstanceRow, share["instance_id"], of=of, to=Status.AVAILABLE, now=call.now)
    jobs.enqueue(
        call.session,
        host=share["host"],
        kind=Kind.TRANSFER_SHARE,
        subject=share["id"],
        argument={"instance_id": share["instance_id"], "clear_rules": clear_rules},
        now=call.now,
        project_id=call.project_id,
        request_id=call.request_id,
    )


def remove(call: Call, transfer_id: str) -> Answer:
    """Withdraw an offer."""
    transfer = _own(call, transfer_id)
    call.allow("share_transfer:delete", {"project_id": transfer["source_project_id"]})
    share = shares.read(call.session, transfer["resource_id"])
    of = [Status.AWAITING_TRANSFER]
    if share is None or not move(
        call.session, InstanceRow, share["instance_id"], of=of, to=Status.AVAILABLE, now=call.now
    ):
        raise InvalidInput(
            f"Invalid share: Transfer {transfer_id}: share id {transfer['resource_id']} expected in "
            "awaiting_transfer state."
        )
    if not transfers.end(call.session, transfer_id):
        raise _missing(transfer_id)
    return Answer(200)


def _own(call: Call, transfer_id: str) -> Row:
    row = first(call.session, select(_TABLE).where(_TABLE.c.id == transfer_id))
    if row is None or not (call.is_admin or row["source_project_id"] == call.project_id):
        raise _missing(transfer_id)
    return row


def _missing(transfer_id: str) -> NotFound:
    return NotFound(f"Transfer {transfer_id} could not be found.")


def _entity(call: Call, name: str) -> dict[str, Any]:
    data = call.body().get(name)
    if not isinstance(data, dict):
        raise InvalidInput(f"'{name}' is missing from the request body.")
    return data


def _shown(call: Call, row: Row, fields: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in fields} | {"links": links(call, "share-transfers", row["id"])}


ROUTES = (
    Route("GET", "/share-transfers", index, since=SINCE),
    Route("GET", "/share-transfers/detail", detail, since=SINCE),
    Route("POST", "/share-transfers", create, since=SINCE),
    Route("GET", "/share-transfers/{transfer_id}", show, since=SINCE),
    Route("DELETE", "/share-transfers/{transfer_id}", remove, since=SINCE),
    Route("POST", "/share-transfers/{transfer_id}/accept", accept, since=SINCE),
)
