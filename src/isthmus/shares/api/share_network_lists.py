"""Which share networks a list shows: filters look at the network or at any of its subnets.

A filter that neither has finds nothing, as in Manila. Those who do not see network types and segmentation ids cannot
filter by them either.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, false, or_, select

from isthmus.control.errors import InvalidInput
from isthmus.shares.api import lists
from isthmus.shares.api.call import Call
from isthmus.shares.api.queries import boolean, page_of
from isthmus.shares.api.share_network_views import SENSITIVE
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row
from isthmus.shares.store.networks import NETWORKS, SUBNETS
from isthmus.shares.tables import NetworkSecurityServiceRow

_OWN = {name: NETWORKS[name] for name in ("id", "name", "description", "status", "user_id")}
_OF_SUBNETS = {
    name: SUBNETS[name]
    for name in (
        "availability_zone",
        "neutron_net_id",
        "neutron_subnet_id",
        "network_type",
        "segmentation_id",
        "cidr",
        "ip_version",
        "gateway",
        "mtu",
    )
}
_NUMBERS = frozenset({"segmentation_id", "ip_version", "mtu"})
_NO_FILTERS = frozenset(
    {"all_tenants", "created_since", "created_before", "limit", "offset", "security_service_id", "project_id"}
)


def rows(call: Call) -> list[Row]:
    """Return the networks of one page, oldest first."""
    statement = select(*NETWORKS).where(*_conditions(call)).order_by(NETWORKS.created_at, NETWORKS.id)
    return lists.rows(call.session, lists.paged(statement, page_of(call)))


def _conditions(call: Call) -> Iterator[ColumnElement[bool]]:
    project = _project(call)
    if project is not None:
        yield NETWORKS.project_id == project
    first, last = _day(call, "created_since"), _day(call, "created_before")
    if first is not None:
        yield NETWORKS.created_at >= first
    if last is not None:
        yield NETWORKS.created_at <= last
    service_id = call.query.get("security_service_id")
    if service_id is not None:
        uses = NetworkSecurityServiceRow.__table__.c
        yield NETWORKS.id.in_(select(uses.share_network_id).where(uses.security_service_id == service_id))
    hidden = () if call.may("share_network:show_network_details") else SENSITIVE
    for name, value in call.query.items():
        if name not in _NO_FILTERS and name not in hidden:
            yield _match(call, name, value)


def _project(call: Call) -> str | None:
    """Return whose networks are wanted; None is everybody's, for administrators."""
    if not call.is_admin:
        return call.project_id
    named = call.query.get("project_id")
    if named is not None:
        return named
    asked = call.query.get("all_tenants")
    return call.project_id if asked is None or (asked and not boolean(asked, "all_tenants")) else None


def _match(call: Call, name: str, value: str) -> ColumnElement[bool]:
    plain = name.removesuffix("~")
    is_part = plain != name and call.version >= since(36)
    if not is_part and plain != name:
        return false()
    found: list[ColumnElement[bool]] = []
    if plain in _OWN:
        found.append(_compare(_OWN[plain], plain, value, is_part))
    if plain in _OF_SUBNETS:
        compared = _compare(_OF_SUBNETS[plain], plain, value, is_part)
        found.append(NETWORKS.id.in_(select(SUBNETS.share_network_id).where(compared)))
    return or_(*found) if found else false()


def _compare(column: Any, name: str, value: str, is_part: bool) -> ColumnElement[bool]:
    if is_part:
        part: ColumnElement[bool] = column.cast(String(255)).contains(value, autoescape=True)
        return part
    if name in _NUMBERS:
        try:
            return bool_element(column == int(value))
        except ValueError:
            raise InvalidInput(f"Invalid value for {name}: {value!r}; it must be a whole number.") from None
    return bool_element(column == value)


def bool_element(element: Any) -> ColumnElement[bool]:
    """Return a comparison with the type that it has."""
    compared: ColumnElement[bool] = element
    return compared


def _day(call: Call, name: str) -> datetime | None:
    text = call.query.get(name)
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).replace(tzinfo=None)
    except ValueError:
        raise InvalidInput(f"{text} is not in yyyy-mm-dd format.") from None
