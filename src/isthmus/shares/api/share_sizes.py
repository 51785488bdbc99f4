"""Extending and shrinking shares."""

from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.queries import boolean
from isthmus.shares.api.quota_faults import refuse_too_large, take_growth
from isthmus.shares.api.share_lookup import held_share, refuse_busy, refuse_soft_deleted, target_of, visible_share
from isthmus.shares.api.share_requests import new_size
from isthmus.shares.api.type_limits import check_size
from isthmus.shares.api.versions import since
from isthmus.shares.messages import Action, Detail
from isthmus.shares.model import Kind, Status
from isthmus.shares.store import jobs, messages, placing, replicas, share_type_facts, usage
from isthmus.shares.store.moving import move
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.store.shares import Row
from isthmus.shares.store.usage import Owner
from isthmus.shares.tables import InstanceRow


def extend(call: Call, share_id: str, argument: Any) -> Answer:
    """Make a share larger. A pool without room for that leaves it as it was, with a user message."""
    call.allow("share:extend")
    share = visible_share(call, share_id)
    size = new_size(argument)
    forced = call.version >= since(64) and boolean(argument.get("force", False), "force")
    refuse_soft_deleted(share, "Cannot extend share")
    call.allow("share:force_extend" if forced else "share:extend", target_of(share))
    if not _move(call, share, (Status.AVAILABLE,), Status.EXTENDING):
        raise InvalidInput(
            f"Invalid share: Share {share_id} status must be 'available' to extend, but current status is: "
            f"{share['status']}.."
        )
    share = held_share(call, share, "Cannot extend share")
    refuse_busy(share)
    grown = size - share["size"]
    if grown <= 0:
        raise InvalidInput(
            "Invalid input received: New size for extend must be greater than current size. (current: "
            f"{share['size']}, extended: {size}).."
        )
    refuse_too_large(call, size, share["share_type_id"])
    share_type = share_type_facts.of_id(call.session, share["share_type_id"])
    beyond = call.may("share:extend_beyond_max_share_size_spec", target_of(share))
    check_size(share_type, size, "admin-extend" if beyond else "extend")
    others = _take(call, share, grown)
    if forced:
        placing.take_room(call.session, share["host"], grown)
    elif not _has_room(call, share, share_type, grown, others):
        return Answer(202)
    for host in others:
        # Replicas follow the active one: their pools are not asked.
        placing.take_room(call.session, host, grown)
    _enqueue(call, share, Kind.EXTEND_SHARE, {"size": size, "grown": grown})
    return Answer(202)


def shrink(call: Call, share_id: str, argument: Any) -> Answer:
    """Make a share smaller; its back end refuses if it holds more."""
    call.allow("share:shrink")
    share = visible_share(call, share_id)
    size = new_size(argument)
    refuse_soft_deleted(share, "Cannot shrink share")
    call.allow("share:shrink", target_of(share))
    fit = (Status.AVAILABLE, Status.SHRINKING_POSSIBLE_DATA_LOSS_ERROR)
    if not _move(call, share, fit, Status.SHRINKING):
        raise InvalidInput(
            f"Invalid share: Share {share_id} status must in ({', '.join(fit)}) to shrink, but current status is: "
            f"{share['status']}.."
        )
    share = held_share(call, share, "Cannot shrink share")
    refuse_busy(share)
    if not 0 < size < share["size"]:
        raise InvalidInput(
            "Invalid input received: New size for shrink must be less than current size and greater than 0 (current: "
            f"{share['size']}, new: {size})."
        )
    check_size(share_type_facts.of_id(call.session, share["share_type_id"]), size, "shrink")
    _enqueue(call, share, Kind.SHRINK_SHARE, {"size": size})
    return Answer(202)


def _take(call: Call, share: Row, grown: int) -> list[str]:
    """Count what a share and each of its replicas grow by; return the hosts of the replicas beside its own."""
    every = replicas.instances_of(call.session, share["id"]) if share["replication_type"] else []
    take_growth(call, _owner(share), grown, len(every))
    return [each["host"] for each in every if each["id"] != share["instance_id"] and each["host"]]


def _has_room(call: Call, share: Row, share_type: ShareType | None, grown: int, others: list[str]) -> bool:
    choice = placing.room_for_growth(
        call.session,
        call.conf,
        host=share["host"],
        grown_gib=grown,
        specs={} if share_type is None else share_type.specs,
        now=call.now,
    )
    if choice.pool is not None:
        return True
    counted = (1 + len(others)) * grown if share["replication_type"] else 0
    usage.give_back(call.session, _owner(share), {"gigabytes": grown, "replica_gigabytes": counted})
    _move(call, share, (Status.EXTENDING,), Status.AVAILABLE)
    messages.say(
        call.session,
        project_id=share["project_id"],
        action=Action.EXTEND,
        detail=Detail.FILTER_CAPACITY,
        resource_id=share["id"],
        request_id=call.request_id,
        text=f"Pool {share['host']} has no room for {grown} GiB more.",
        now=call.now,
    )
    return False


def _move(call: Call, share: Row, of: tuple[Status, ...], to: Status) -> bool:
    return move(call.session, InstanceRow, share["instance_id"], of=of, to=to, now=call.now)


def _enqueue(call: Call, share: Row, kind: Kind, argument: Mapping[str, int]) -> None:
    jobs.enqueue(
        call.session,
        host=share["host"],
        kind=kind,
        subject=share["id"],
        argument={"instance_id": share["instance_id"], **argument},
        project_id=share["project_id"],
        request_id=call.request_id,
        now=call.now,
    )


def _owner(share: Row) -> Owner:
    return Owner(share["project_id"], share["user_id"], share["share_type_id"])
