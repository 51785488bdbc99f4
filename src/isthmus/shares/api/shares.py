"""Shares: show, change, and the actions on them."""

from typing import Any

from sqlalchemy import update

from isthmus.shares.api import (
    access_rules,
    share_admin,
    share_creation,
    share_lists,
    share_managing,
    share_metadata,
    share_migration,
    share_removal,
    share_reverting,
    share_sizes,
    share_views,
)
from isthmus.shares.api.call import Call, Handler
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.routing import Action, Route, choose_action, renamed
from isthmus.shares.api.share_lookup import refuse_soft_deleted, target_of, visible_share
from isthmus.shares.api.share_requests import public_flag
from isthmus.shares.api.texts import changed_texts
from isthmus.shares.api.versions import Version, since
from isthmus.shares.tables import ShareRow


def show(call: Call, share_id: str) -> dict[str, Any]:
    """Show one share."""
    call.allow("share:get")
    return {"share": share_views.details(call, [dict(visible_share(call, share_id))])[0]}


def change(call: Call, share_id: str) -> dict[str, Any]:
    """Change a share's name, description and whether others see it."""
    call.allow("share:update")
    data = call.body().get("share")
    if not isinstance(data, dict):
        raise Unprocessable("Unable to process the contained instructions: the body has no object 'share'")
    values: dict[str, Any] = changed_texts(data, {"display_name": "name", "display_description": "description"})
    share = visible_share(call, share_id)
    refuse_soft_deleted(share, "Cannot update share")
    is_public = public_flag(call, data, "share:set_public_share")
    if is_public is not None:
        values["is_public"] = is_public
    call.allow("share:update", target_of(share))
    call.session.execute(update(ShareRow).where(ShareRow.id == share_id).values(updated_at=call.now, **values))
    return share_views.detail(call, share_id)


def _of_migration(name: str, handler: Handler, **versions: Version) -> tuple[Action, ...]:
    """Return an action that is experimental until 2.95."""
    return (Action(name, handler, **{"since": since(22), **versions}, experimental_until=since(95)),)


_ACTIONS = (
    *renamed("allow_access", access_rules.allow),
    *renamed("deny_access", access_rules.deny),
    *renamed("access_list", access_rules.list_of_share, until=since(44)),
    *renamed("extend", share_sizes.extend),
    *renamed("shrink", share_sizes.shrink),
    *renamed("reset_status", share_admin.reset_status),
    *renamed("force_delete", share_removal.force_delete),
    Action("soft_delete", share_removal.soft_delete, since=since(69)),
    Action("restore", share_removal.restore, since=since(69)),
    Action("revert", share_reverting.revert, since=since(27)),
    Action("unmanage", share_managing.unmanage, since=since(7)),
    *_of_migration("migration_start", share_migration.start, since=since(29)),
    *_of_migration("migration_complete", share_migration.complete),
    *_of_migration("migration_cancel", share_migration.cancel),
    *_of_migration("migration_get_progress", share_migration.progress, until=since(97)),
    *_of_migration("reset_task_state", share_admin.reset_task_state),
)

ROUTES = (
    Route("GET", "/shares", share_lists.index),
    Route("GET", "/shares/detail", share_lists.detail),
    Route("POST", "/shares", share_creation.create),
    Route("GET", "/shares/{share_id}", show),
    Route("PUT", "/shares/{share_id}", change),
    Route("DELETE", "/shares/{share_id}", share_removal.delete),
    Route("POST", "/shares/{share_id}/action", choose_action(_ACTIONS)),
    Route("GET", "/shares/{share_id}/migration-progress", share_migration.progress, since=since(98)),
    *share_managing.ROUTES,
    *share_metadata.ROUTES,
)
