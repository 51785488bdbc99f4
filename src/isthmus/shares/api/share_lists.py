"""Lists of shares: which, in which order, how shown.

Source: Manila's API reference, "List shares"; a filter that the version does not know yet is left unheeded.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Integer, Select, bindparam, or_, select

from isthmus.control.errors import InvalidInput
from isthmus.shares.api import share_views
from isthmus.shares.api.call import Call
from isthmus.shares.api.lists import keys_of, narrowed, ordered, paged
from isthmus.shares.api.queries import Order, Page, flag, literal_pairs, order_of, page_of
from isthmus.shares.api.versions import OLDEST, Version, since
from isthmus.shares.api.views import next_link
from isthmus.shares.model import Status
from isthmus.shares.store import shares
from isthmus.shares.store.shares import COLUMNS, INSTANCE, SHARE
from isthmus.shares.tables import AvailabilityZoneRow, ExportRow, TypeSpecRow

_FILTERS: Mapping[str, tuple[Any, Version]] = {
    "display_name": (SHARE.c.name, OLDEST),
    "name": (SHARE.c.name, OLDEST),
    "display_description": (SHARE.c.description, OLDEST),
    "description": (SHARE.c.description, since(36)),
    "name~": (SHARE.c.name, since(36)),
    "description~": (SHARE.c.description, since(36)),
    "share_group_id": (SHARE.c.share_group_id, OLDEST),
    "snapshot_id": (SHARE.c.snapshot_id, OLDEST),
    "source_backup_id": (SHARE.c.source_backup_id, OLDEST),
    "status": (INSTANCE.c.status, OLDEST),
    "share_type_id": (INSTANCE.c.share_type_id, OLDEST),
    "host": (INSTANCE.c.host, OLDEST),
    "share_server_id": (INSTANCE.c.share_server_id, OLDEST),
    "share_network_id": (INSTANCE.c.share_network_id, OLDEST),
    "mount_point_name": (INSTANCE.c.mount_point_name, OLDEST),
    "encryption_key_ref": (INSTANCE.c.encryption_key_ref, since(90)),
}
_BY_INSTANCE = frozenset({"host", "share_server_id", "export_location_id", "export_location_path", "share_type_id"})
"""Filters for which instances are better looked up first: few rows have what they ask for."""
_NO_FILTERS = frozenset(
    {
        "limit",
        "offset",
        "sort_key",
        "sort_dir",
        "all_tenants",
        "project_id",
        "is_public",
        "is_soft_deleted",
        "with_count",
    }
)
"""What a list may be asked with and still be one of the few that need no statement of their own."""
_SORT_KEYS: Mapping[str, Any] = {
    **{name: column for name, column in COLUMNS.items() if name not in {"instance_id", "share_type_name"}},
    "display_name": SHARE.c.name,
    "display_description": SHARE.c.description,
    "share_proto": SHARE.c.protocol,
    "share_type": INSTANCE.c.share_type_id,
    "share_network": INSTANCE.c.share_network_id,
    "snapshot": SHARE.c.snapshot_id,
    "availability_zone_id": INSTANCE.c.availability_zone,
}
_GOING = select(INSTANCE.c.share_id).where(
    INSTANCE.c.status.in_((Status.DEFERRED_DELETING, Status.ERROR_DEFERRED_DELETING))
)


@dataclass(frozen=True)
class _Whose:
    """Whose shares a list holds: `all`, those of `one` project, or these and what is `public`."""

    kind: str
    project_id: Any

    def narrow(self, statement: Select[Any]) -> Select[Any]:
        """Return the statement for these."""
        if self.kind == "all":
            return statement
        one = SHARE.c.project_id == self.project_id
        return statement.where(or_(one, SHARE.c.is_public) if self.kind == "public" else one)


def index(call: Call) -> dict[str, Any]:
    """List shares with their names."""
    return _list(call, share_views.summaries)


def detail(call: Call) -> dict[str, Any]:
    """List shares with all that is known of them."""
    return _list(call, share_views.details)


def _list(call: Call, show: Callable[[Call, list[dict[str, Any]]], list[dict[str, Any]]]) -> dict[str, Any]:
    call.allow("share:get_all")
    page, order = page_of(call), order_of(call, _SORT_KEYS, Order("created_at"))
    # The detailed list never looked at the version before it counted.
    counts = flag(call, "with_count") and (call.version >= since(42) or show is share_views.details)
    whose, in_bin, going = _whose(call), call.version >= since(69) and flag(call, "is_soft_deleted"), _deferred(call)
    is_plain = not (counts or going or call.query.keys() - _NO_FILTERS)
    if is_plain and shares.is_of_shares_alone(_SORT_KEYS[order.key]):
        values = {"in_bin": in_bin, "project_id": whose.project_id, "limit": page.limit, "offset": page.offset}
        found = _read(call, _plain_page(order, whose.kind), values)
    else:
        statement = _asked(call, whose, going, in_bin=in_bin)
        found = _read(call, _page(call, statement, order, page))
    answer: dict[str, Any] = {"shares": show(call, found)}
    if counts:
        answer["count"] = shares.count(call.session, statement)
    return answer | next_link(call, "shares", page, len(found))


def _read(call: Call, statement: Select[Any], values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return the rows as dictionaries; made from `mappings()` those of 1,000 shares cost twice as much."""
    result = call.session.connection().execute(statement, values)
    names = tuple(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]


@lru_cache(maxsize=128)
def _plain_page(order: Order, kind: str) -> Select[Any]:
    """Return the statement for a page of a list without filters: made once, as that costs a tenth of such a page."""
    statement = shares.rows_of_shares().where(SHARE.c.is_soft_deleted == bindparam("in_bin"))
    statement = _Whose(kind, bindparam("project_id")).narrow(statement)
    keys = keys_of(_SORT_KEYS, order, SHARE.c.id)
    return shares.page_of_shares(statement, keys, bindparam("limit", type_=Integer), bindparam("offset", type_=Integer))


def _page(call: Call, statement: Select[Any], order: Order, page: Page) -> Select[Any]:
    if shares.is_of_shares_alone(statement.whereclause) and shares.is_of_shares_alone(_SORT_KEYS[order.key]):
        return shares.page_of_shares(statement, keys_of(_SORT_KEYS, order, SHARE.c.id), page.limit, page.offset)
    asked = paged(ordered(statement, _SORT_KEYS, order, SHARE.c.id), page)
    return asked if _BY_INSTANCE & call.query.keys() else shares.shares_first(asked)


def _asked(call: Call, whose: _Whose, going: Sequence[str], *, in_bin: bool) -> Select[Any]:
    statement = whose.narrow(narrowed(shares.rows_of_shares(), call, _known_filters(call)))
    statement = _by_export(call, statement)
    for key, value in _pairs(call, "metadata").items():
        statement = statement.where(shares.has_metadata(key, value))
    statement = _by_specs(call, statement)
    if call.version >= since(97) and "availability_zone" in call.query:
        statement = statement.where(_in_zone(call.query["availability_zone"]))
    # Not IS: that can use no index.
    statement = statement.where(SHARE.c.is_soft_deleted == in_bin)
    return statement.where(SHARE.c.id.not_in(going)) if going else statement


def _known_filters(call: Call) -> dict[str, Any]:
    asked = {
        name: column
        for name, (column, first) in _FILTERS.items()
        if call.version >= first and name in call.query and not (name.rstrip("~") in _TEXTS and not call.query[name])
    }
    if "host" in asked:
        call.allow("share:list_by_host")
    if "share_server_id" in asked:
        call.allow("share:list_by_share_server_id")
    return asked


_TEXTS = frozenset({"name", "display_name", "description", "display_description"})
"""Filters that ask for nothing when they are empty."""


def _whose(call: Call) -> _Whose:
    # An empty all_tenants says yes.
    everywhere = "all_tenants" in call.query and (not call.query["all_tenants"] or flag(call, "all_tenants"))
    if everywhere and call.may("share:list_all_projects"):
        project = call.query.get("project_id")
        return _Whose("all" if project is None else "one", project)
    if "share_server_id" in call.query:
        return _Whose("all", None)
    return _Whose("public" if flag(call, "is_public") else "one", call.project_id)


def _by_export(call: Call, statement: Select[Any]) -> Select[Any]:
    if call.version < since(35):
        return statement
    for name, column in (("export_location_id", ExportRow.id), ("export_location_path", ExportRow.path)):
        wanted = call.query.get(name)
        if wanted:
            exports = select(ExportRow.id).where(ExportRow.instance_id == INSTANCE.c.id, column == wanted)
            statement = statement.where(exports.exists())
    return statement


def _by_specs(call: Call, statement: Select[Any]) -> Select[Any]:
    wanted = _pairs(call, "extra_specs")
    if "extra_specs" in call.query:
        call.allow("share_types_extra_spec:index")
    for key, value in wanted.items():
        specs = select(TypeSpecRow.key).where(
            TypeSpecRow.type_id == INSTANCE.c.share_type_id, TypeSpecRow.key == key, TypeSpecRow.value == value
        )
        statement = statement.where(specs.exists())
    return statement


def _in_zone(name_or_id: str) -> Any:
    names = select(AvailabilityZoneRow.name).where(
        or_(AvailabilityZoneRow.name == name_or_id, AvailabilityZoneRow.id == name_or_id)
    )
    return INSTANCE.c.availability_zone.in_(names)


def _deferred(call: Call) -> Sequence[str]:
    """Return the ids of shares that the caller may not see, as they are about to be deleted."""
    rule = "share:list_shares_in_deferred_deletion_states"
    if "deferred" in call.query.get("status", ""):
        call.allow(rule)
    if call.may(rule):
        return ()
    # Asked for apart, as there are few or none: the page is then found in the shares' own indexes.
    return call.session.connection().scalars(_GOING).all()


def _pairs(call: Call, name: str) -> dict[str, str]:
    """Return a filter of keys and values, written as Python and JSON write objects."""
    text = call.query.get(name)
    if text is None:
        return {}
    found = literal_pairs(text)
    if found is None:
        raise InvalidInput(f"Invalid input received: Wrong {name.replace('_', ' ')} filter provided: {text}.")
    return found
