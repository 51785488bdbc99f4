"""Lists of snapshots: which, in what order, and how many there are."""

from typing import Any

from sqlalchemy import Select, func, select

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.call import Call
from isthmus.shares.api.lists import narrowed, ordered, paged, rows
from isthmus.shares.api.queries import Order, flag, literal_pairs, order_of, page_of
from isthmus.shares.api.snapshot_reading import METADATA_SINCE, detailed, summed_up
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import next_link
from isthmus.shares.store import snapshots
from isthmus.shares.store.snapshots import SELECTED
from isthmus.shares.tables import MetadataRow, ShareRow

_TEXTS = {"name": "name", "display_name": "name", "description": "description", "display_description": "description"}
_EVERYBODYS = {
    **{name: SELECTED[column] for name, column in _TEXTS.items()},
    **{name: SELECTED[name] for name in ("status", "share_id", "size")},
}
_PARTS = {f"{name}~": SELECTED[column] for name, column in _TEXTS.items()}
_ADMINISTRATORS = {name: SELECTED[name] for name in ("id", "user_id", "project_id", "share_proto", "share_size")}
_SORT_KEYS = {**SELECTED, **{name: SELECTED[column] for name, column in _TEXTS.items()}}
_SINCE_PARTS = since(36)
_SINCE_COUNT = since(79)


def index(call: Call) -> dict[str, Any]:
    """List snapshots in short."""
    return _listed(call, in_full=False)


def detail(call: Call) -> dict[str, Any]:
    """List snapshots in full."""
    return _listed(call, in_full=True)


def _listed(call: Call, *, in_full: bool) -> dict[str, Any]:
    call.allow("share_snapshot:get_all_snapshots")
    page, order = page_of(call), order_of(call, _SORT_KEYS, Order("created_at"))
    wanted = _wanted(call)
    found = rows(call.session, paged(ordered(wanted, _SORT_KEYS, order, SELECTED["id"]), page))
    answer: dict[str, Any] = {"snapshots": (detailed if in_full else summed_up)(call, found)}
    if call.version >= _SINCE_COUNT and flag(call, "with_count"):
        answer["count"] = call.session.scalar(select(func.count()).select_from(wanted.subquery()))
    return answer | next_link(call, "share_snapshots", page, len(found))


def _wanted(call: Call) -> Select[Any]:
    filters = dict(_EVERYBODYS)
    if call.is_admin:
        filters |= _ADMINISTRATORS
    if call.version >= _SINCE_PARTS:
        filters |= _PARTS
    else:
        del filters["description"]
    for name in filters:
        if call.query.get(name) == "":
            raise InvalidInput(f"Invalid input received: Wrong '{name}' filter provided: ''.")
    if "deferred" in call.query.get("status", ""):
        call.allow("share_snapshot:list_snapshots_in_deferred_deletion_states")
    wanted = _of_use(_with_metadata(narrowed(snapshots.selected(), call, filters), call), call)
    everywhere = flag(call, "all_tenants") and call.may("share_snapshot:list_all_projects")
    return wanted if everywhere else wanted.where(SELECTED["project_id"] == call.project_id)


def _with_metadata(wanted: Select[Any], call: Call) -> Select[Any]:
    text = call.query.get("metadata")
    if text is None or call.version < METADATA_SINCE:
        return wanted
    items = literal_pairs(text)
    if items is None:
        raise InvalidInput("Invalid value for metadata filter.")
    for key, value in items.items():
        wanted = wanted.where(
            select(MetadataRow.key)
            .where(MetadataRow.object_id == SELECTED["id"])
            .where(MetadataRow.key == key, MetadataRow.value == value)
            .exists()
        )
    return wanted


def _of_use(wanted: Select[Any], call: Call) -> Select[Any]:
    """Keep what shares were made from (`used`), or not (`unused`); administrators may ask."""
    use = call.query.get("usage", "any") if call.is_admin else "any"
    made_from = select(ShareRow.id).where(ShareRow.snapshot_id == SELECTED["id"]).exists()
    if use == "any":
        return wanted
    if use not in {"used", "unused"}:
        raise InvalidInput(
            f"Invalid input received: Wrong 'usage' key provided - '{use}'. Expected keys are "
            "'['any', 'used', 'unused']'."
        )
    return wanted.where(made_from if use == "used" else ~made_from)
