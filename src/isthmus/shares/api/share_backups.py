"""Share backups (2.80, experimental), as Manila answers where no back end makes any: there are none."""

from typing import Any

from isthmus.control.errors import Conflict, InvalidInput, NotAllowed, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.queries import page_of
from isthmus.shares.api.routing import Route
from isthmus.shares.api.share_lookup import refuse_busy, visible_share
from isthmus.shares.api.versions import NEWEST, since
from isthmus.shares.model import Status
from isthmus.shares.store import shares

_ACTIONS = {"restore": "share_backup:restore", "reset_status": "share_backup:reset_status"}


def index(call: Call) -> dict[str, Any]:
    """List the backups: there are none."""
    call.allow("share_backup:get_all")
    page_of(call)
    share_id = call.query.get("share_id")
    if share_id:
        _share(call, share_id)
    return {"share_backups": []}


def show(call: Call, backup_id: str) -> dict[str, Any]:
    """Show one backup: there is none."""
    call.allow("share_backup:get")
    raise _missing(backup_id)


def create(call: Call) -> Answer:
    """Refuse a backup of a share: its back end makes none."""
    call.allow("share_backup:create")
    data = _data(call)
    share_id = data.get("share_id")
    if not share_id or not isinstance(share_id, str):
        raise InvalidInput("'share_id' is missing from the request body.")
    share = _share(call, share_id, to_change=True)
    if share["is_soft_deleted"]:
        raise NotAllowed(f"Backup can not be created for share '{share_id}' since it has been soft deleted.")
    try:
        refuse_busy(share)
    except InvalidInput as error:
        raise Conflict(error.message) from None
    if share["status"] != Status.AVAILABLE:
        raise InvalidInput(
            f"Share {share_id} is in '{share['status']}' state, but it must be in 'available' state to create a backup."
        )
    if shares.snapshots_of(call.session, share_id):
        raise InvalidInput(f"Cannot backup share {share_id} while it has snapshots.")
    raise InvalidInput(f"Invalid share backup: the back end of share {share_id} makes no backups.")


def change(call: Call, backup_id: str) -> dict[str, Any]:
    """Change a backup: there is none."""
    call.allow("share_backup:update")
    _data(call)
    raise _missing(backup_id)


def delete(call: Call, backup_id: str) -> Answer:
    """Delete a backup: there is none."""
    call.allow("share_backup:delete")
    raise _missing(backup_id)


def act(call: Call, backup_id: str) -> Answer:
    """Do something with a backup: there is none."""
    body = call.body()
    rule = _ACTIONS.get(next(iter(body), "")) if len(body) == 1 else None
    if rule is None:
        raise InvalidInput("There is no such action.")
    call.allow(rule)
    raise _missing(backup_id)


def _data(call: Call) -> dict[str, Any]:
    data = call.body().get("share_backup")
    if not isinstance(data, dict):
        raise Unprocessable("Body does not contain 'share_backup' information.")
    return data


def _share(call: Call, share_id: str, *, to_change: bool = False) -> shares.Row:
    try:
        return visible_share(call, share_id, to_change=to_change)
    except NotFound:
        raise InvalidInput(f"No share exists with ID {share_id}.") from None


def _missing(backup_id: str) -> NotFound:
    return NotFound(f"No backup exists with ID {backup_id}.")


_ONE = "/share-backups/{backup_id}"
ROUTES = tuple(
    Route(method, path, handler, since=since(80), experimental_until=NEWEST)
    for method, path, handler in (
        ("GET", "/share-backups", index),
        ("GET", "/share-backups/detail", index),
        ("POST", "/share-backups", create),
        ("GET", _ONE, show),
        ("PUT", _ONE, change),
        ("DELETE", _ONE, delete),
        ("POST", f"{_ONE}/action", act),
    )
)
