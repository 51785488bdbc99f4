"""Metadata of shares; a back end that acts upon some keys is told of them."""

from collections.abc import Mapping

from isthmus.shares.api.call import Call
from isthmus.shares.api.metadata import Carrier, Touch, metadata_routes
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.model import Kind
from isthmus.shares.store import jobs, shares

_RULES = {
    Touch.READ: "share:get_share_metadata",
    Touch.CHANGE: "share:update_share_metadata",
    Touch.REMOVE: "share:delete_share_metadata",
}


def _find(call: Call, variables: Mapping[str, str], touch: Touch) -> str:
    call.allow(_RULES[touch])
    identity: str = visible_share(call, variables["share_id"], to_change=touch is not Touch.READ)["id"]
    return identity


def _tell_driver(call: Call, share_id: str, items: Mapping[str, str]) -> None:
    share = shares.read(call.session, share_id)
    if share is None or not share["host"] or not items.keys() & set(call.conf.shares.driver_updatable_metadata):
        return
    jobs.enqueue(
        call.session,
        host=share["host"],
        kind=Kind.SET_METADATA,
        subject=share_id,
        argument={"instance_id": share["instance_id"]},
        project_id=share["project_id"],
        request_id=call.request_id,
        now=call.now,
    )


ROUTES = metadata_routes(
    "/shares/{share_id}/metadata",
    Carrier(
        find=_find,
        admin_keys=lambda conf: conf.shares.admin_only_metadata,
        admin_rule="share:update_admin_only_metadata",
        shows_all=True,
        changed=_tell_driver,
    ),
)
