"""Shares: show, change, and the actions on them."""

from typing import Any

from sqlalchemy import update

from isthmus.shares.api import access_rules, share_creation, share_lists, share_removal, share_sizes, share_views
from isthmus.shares.api.call import Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.routing import Action, Route, choose_action, renamed
from isthmus.shares.api.share_lookup import refuse_soft_deleted, target_of, visible_share
from isthmus.shares.api.share_requests import public_flag
from isthmus.shares.api.texts import changed_texts
from isthmus.shares.api.versions import since
from isthmus.shares.tables import ShareRow


def show(call: Call, share_id: str) -> dict[str, Any]:
    """Show one share."""
    call.allow("share:get")
    return {"share": share_views.details(call, [visible_share(call, share_id)])[0]}


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


_ACTIONS = (
    *renamed("allow_access", access_rules.allow),
    *renamed("deny_access", access_rules.deny),
    *renamed("access_list", access_rules.list_of_share, until=since(44)),
    *renamed("extend", share_sizes.extend),
    *renamed("shrink", share_sizes.shrink),
    *renamed("force_delete", share_removal.force_delete),
    Action("soft_delete", share_removal.soft_delete, since=since(69)),
    Action("restore", share_removal.restore, since=since(69)),
)

ROUTES = (
    Route("GET", "/shares", share_lists.index),
    Route("GET", "/shares/detail", share_lists.detail),
    Route("POST", "/shares", share_creation.create),
    Route("GET", "/shares/{share_id}", show),
    Route("PUT", "/shares/{share_id}", change),
    Route("DELETE", "/shares/{share_id}", share_removal.delete),
    Route("POST", "/shares/{share_id}/action", choose_action(_ACTIONS)),
)
