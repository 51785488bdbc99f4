"""Migration of shares between pools, as Manila answers where no back end can move a share.

A call that is right is accepted, and the share's task state then tells that it could not be moved.
"""

from typing import Any

from sqlalchemy import select, update

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.queries import boolean
from isthmus.shares.api.share_lookup import refuse_busy, refuse_replicated, visible_share
from isthmus.shares.api.share_managing import check_service
from isthmus.shares.api.type_limits import check_size
from isthmus.shares.api.versions import since
from isthmus.shares.model import RulesStatus, Status
from isthmus.shares.store import share_type_facts, shares
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.store.shares import Row
from isthmus.shares.tables import NetworkRow, ShareRow

SUCCESS, FAILED = "migration_success", "migration_error"
_FLAGS = ("preserve_metadata", "writable", "nondisruptive", "preserve_snapshots")
_ENDED = frozenset(
    {
        SUCCESS,
        FAILED,
        "data_copying_error",
        "migration_cancelled",
        "migration_cancel_in_progress",
        "migration_completing",
        "migration_driver_phase1_done",
        "data_copying_completed",
        "data_copying_completing",
        "data_copying_cancelled",
    }
)
_BEGUN = frozenset(
    {"migration_starting", "migration_driver_starting", "data_copying_starting", "migration_in_progress"}
)
_FIRST_PHASE_DONE = frozenset({"migration_driver_phase1_done", "data_copying_completed"})


def start(call: Call, share_id: str, argument: Any) -> Answer:
    """Ask for a share to be moved to another pool, type or network."""
    call.allow("share:migration_start")
    share = visible_share(call, share_id)
    if share["is_soft_deleted"]:
        raise InvalidInput(
            f"Invalid share: Migration cannot start for share '{share_id}' since it has been soft deleted.."
        )
    host = _checked_host(argument)
    network = _network(call, argument)
    new_type = _new_type(call, argument)
    _refuse_unfit(call, share, forced=boolean(argument.get("force_host_assisted_migration", False), "force"))
    check_service(call, host)
    share_type = new_type or share_type_facts.of_id(call.session, share["share_type_id"])
    if new_type is not None:
        check_size(new_type, share["size"], "create")
    if network is not None and (share_type is None or not share_type.says("driver_handles_share_servers")):
        raise InvalidInput(
            f"Invalid input received: New share network must not be provided when share type of given share {share_id} "
            "has extra_spec 'driver_handles_share_servers' as False.."
        )
    is_there = host == share["host"] and (new_type is None or new_type.id == share["share_type_id"])
    _set_task_state(call, share_id, SUCCESS if is_there else FAILED)
    return Answer(200 if is_there else 202)


def complete(call: Call, share_id: str, argument: object) -> Answer:
    """Refuse: no migration has come so far."""
    del argument
    call.allow("share:migration_complete")
    share = visible_share(call, share_id)
    if share["task_state"] in _FIRST_PHASE_DONE:
        raise InvalidInput(f"Share migration failed: share {share_id} has no instance that it migrates to.")
    raise InvalidInput(
        _why_not(share) or f"Invalid share: First migration phase of share {share_id} not completed yet.."
    )


def cancel(call: Call, share_id: str, argument: object) -> Answer:
    """Refuse: no migration is under way."""
    del argument
    call.allow("share:migration_cancel")
    share = visible_share(call, share_id)
    raise InvalidInput(
        _why_not(share) or f"Invalid share: Migration of share {share_id} cannot be cancelled at this moment.."
    )


def progress(call: Call, share_id: str, argument: object = None) -> dict[str, Any]:
    """Show how far a migration has come."""
    del argument
    call.allow("share:migration_get_progress")
    share = visible_share(call, share_id)
    state = share["task_state"]
    if state not in _ENDED | _BEGUN:
        raise InvalidInput(
            _why_not(share)
            or f"Invalid share: Migration progress of share {share_id} cannot be obtained at this moment.."
        )
    shown: dict[str, Any] = {"total_progress": 100 if state in _ENDED else 0, "task_state": state}
    return shown | ({"details": {}} if call.version >= since(59) else {})


def _checked_host(argument: Any) -> str:
    if not isinstance(argument, dict):
        raise InvalidInput("Malformed request body: 'migration_start' must be an object.")
    for name in _FLAGS:
        if name not in argument:
            raise InvalidInput(f"Invalid input for field/attribute migration_start: '{name}' is a required property")
    wanted = [name for name in _FLAGS if boolean(argument[name], name)]
    host = argument.get("host")
    if not isinstance(host, str) or not host:
        raise InvalidInput("Invalid input for field/attribute migration_start: 'host' is a required property")
    if wanted and boolean(argument.get("force_host_assisted_migration", False), "force_host_assisted_migration"):
        raise InvalidInput(
            'Invalid input received: Invalid parameter combination. Cannot set parameters "nondisruptive", '
            '"writable", "preserve_snapshots" or "preserve_metadata" to True when enabling the '
            '"force_host_assisted_migration" option..'
        )
    return host


def _network(call: Call, argument: dict[str, Any]) -> str | None:
    network_id = argument.get("new_share_network_id")
    if not network_id:
        return None
    status = call.session.scalar(select(NetworkRow.status).where(NetworkRow.id == str(network_id)))
    if status is None:
        raise InvalidInput(f"Share network {network_id} not found.")
    return str(network_id)


def _new_type(call: Call, argument: dict[str, Any]) -> ShareType | None:
    type_id = argument.get("new_share_type_id")
    if not type_id:
        return None
    found = share_type_facts.of_id(call.session, str(type_id))
    if found is None:
        raise InvalidInput(f"Share type {type_id} not found.")
    return found


def _refuse_unfit(call: Call, share: Row, *, forced: bool) -> None:
    refuse_replicated(
        call, share, f"Share {share['id']} has replicas. Remove the replicas before attempting to migrate the share."
    )
    if share["share_group_id"]:
        raise InvalidInput(
            f"Invalid share: Share {share['id']} is a member of a group. This operation is not currently supported "
            "for shares that are members of groups.."
        )
    if share["status"] != Status.AVAILABLE:
        raise InvalidInput(
            f"Invalid share: Share instance {share['instance_id']} status must be available, but current status is: "
            f"{share['status']}.."
        )
    if share["access_rules_status"] == RulesStatus.ERROR:
        raise InvalidInput(
            f"Invalid share: Share instance {share['instance_id']} access rules status must not be in error when "
            "attempting to start a migration.."
        )
    refuse_busy(share)
    if forced and shares.snapshots_of(call.session, share["id"]):
        raise Conflict(f"Share {share['id']} must not have snapshots when using host-assisted migration.")


def _why_not(share: Row) -> str | None:
    state, name = share["task_state"], f"share {share['id']}"
    if state == SUCCESS:
        return f"Invalid share: Migration of {name} has already completed.."
    if state in {None, FAILED}:
        return f"Invalid share: There is no migration being performed for {name} at this moment.."
    if state == "migration_cancelled":
        return f"Invalid share: Migration of {name} was already cancelled.."
    if state in _FIRST_PHASE_DONE:
        return f"Invalid share: Migration of {name} has already completed first phase.."
    return None


def _set_task_state(call: Call, share_id: str, state: str) -> None:
    call.session.execute(update(ShareRow).where(ShareRow.id == share_id).values(task_state=state, updated_at=call.now))
