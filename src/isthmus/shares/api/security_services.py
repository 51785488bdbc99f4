"""Security services: directories that know a tenant's users.

A password goes to Barbican at once, with the caller's token; the row keeps the reference. As in Manila it is shown
again to those who may see the security service, read from Barbican each time.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import uuid4

from isthmus.control.errors import InvalidInput, NotAllowed, NotFound
from isthmus.shares.api import lists
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.faults import Unprocessable
from isthmus.shares.api.networks_lookup import find_network
from isthmus.shares.api.queries import boolean, page_of
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View
from isthmus.shares.store import security_services as store

TYPES = ("active_directory", "ldap", "kerberos")
_TEXTS: Mapping[str, int] = {
    "name": 255,
    "description": 255,
    "dns_ip": 64,
    "server": 255,
    "domain": 255,
    "user": 255,
    "ou": 255,
    "default_ad_site": 255,
}
"""Fields that are text, with their most characters."""
_LONGEST_PASSWORD = 255
_SUMMARY = View([Field("id"), Field("name"), Field("type"), Field("status")])
_DETAIL = View(
    [
        *(Field(name) for name in ("id", "name", "type", "status", "created_at", "updated_at", "description")),
        *(Field(name) for name in ("dns_ip", "server", "domain", "user", "password", "project_id")),
        Field("ou", since=since(44)),
        Field("default_ad_site", since=since(76)),
    ]
)
_FILTERS = {name: store.TABLE[name] for name in ("name", "id", "type", "user", "server", "dns_ip", "domain")}
_NO_FILTERS = frozenset({"all_tenants", "status", "share_network_id", "limit", "offset"})


def index(call: Call) -> dict[str, Any]:
    """List security services in short."""
    call.allow("security_service:index")
    view = _SUMMARY.at(call.version, admin=False)
    return {"security_services": [view(row) for row in _rows(call)]}


def detail(call: Call) -> dict[str, Any]:
    """List security services with the share networks that use them."""
    call.allow("security_service:detail")
    rows = _rows(call)
    networks = store.networks_of(call.session, [row["id"] for row in rows])
    return {
        "security_services": [
            {**_view(call, row, _password(call, row)), "share_networks": networks[row["id"]]} for row in rows
        ]
    }


def show(call: Call, service_id: str) -> dict[str, Any]:
    """Show one."""
    row = _found(call, service_id, "show")
    return {"security_service": _view(call, row, _password(call, row))}


def create(call: Call) -> dict[str, Any]:
    """Make one."""
    call.allow("security_service:create")
    wanted = _entity(call)
    kind = wanted.get("type")
    if kind not in TYPES:
        raise InvalidInput(
            f"Invalid input received: Invalid type {kind} specified for security service. Valid types are "
            f"{','.join(TYPES)}."
        )
    _refuse_both(call, wanted, kind)
    row: dict[str, Any] = {
        "id": str(uuid4()),
        "project_id": call.project_id,
        "type": kind,
        "status": "new",
        **dict.fromkeys(_TEXTS),
        **_texts(wanted),
        **_kept_password(call, wanted),
        "created_at": call.now,
    }
    store.add(call.session, row)
    return {"security_service": _view(call, {**row, "updated_at": None}, wanted.get("password"))}


def update(call: Call, service_id: str) -> dict[str, Any]:
    """Change one; a new password replaces the old secret."""
    wanted = _entity(call)
    row = _found(call, service_id, "update")
    _refuse_both(call, wanted, row["type"])
    values: dict[str, Any] = {**_texts(wanted), **_kept_password(call, wanted)}
    if "type" in wanted:
        if wanted["type"] not in TYPES:
            raise InvalidInput(f"Invalid input received: type must be one of {', '.join(TYPES)}.")
        values["type"] = wanted["type"]
    store.change(call.session, service_id, values, call.now)
    if "password_ref" in values and row["password_ref"]:
        call.outside.finish.append(partial(call.service.vault.delete, call.caller, row["password_ref"]))
    changed = {**row, **values, "updated_at": call.now}
    password = wanted["password"] if "password" in wanted else _password(call, row)
    return {"security_service": _view(call, changed, password)}


def delete(call: Call, service_id: str) -> Answer:
    """Delete one that no share network uses, with its secret."""
    row = _found(call, service_id, "delete")
    store.remove(call.session, service_id)
    if row["password_ref"]:
        call.outside.finish.append(partial(call.service.vault.delete, call.caller, row["password_ref"]))
    return Answer(202)


def _entity(call: Call) -> dict[str, Any]:
    wanted = call.body().get("security_service")
    if not isinstance(wanted, dict):
        raise Unprocessable("Unable to process the contained instructions: security_service is missing")
    return wanted


def _found(call: Call, service_id: str, deed: str) -> Row:
    row = store.find(call.session, service_id)
    if row is None:
        raise NotFound(f"Security service {service_id} could not be found.")
    call.allow(f"security_service:{deed}", {"project_id": row["project_id"]})
    return row


def _rows(call: Call) -> list[Row]:
    if call.is_admin and call.query.keys() - _FILTERS.keys() - _NO_FILTERS:
        # As in Manila: no security service has what an administrator asks for; others' unknown filters are unheeded.
        return []
    network_id = call.query.get("share_network_id")
    if network_id is not None:
        statement = store.listed(project_id=None, share_network_id=find_network(call, network_id)["id"])
    else:
        statement = store.listed(project_id=None if _sees_all(call) else call.project_id)
    return lists.rows(call.session, lists.paged(lists.narrowed(statement, call, _FILTERS), page_of(call)))


def _sees_all(call: Call) -> bool:
    asked = call.query.get("all_tenants")
    if asked is None or (asked and not boolean(asked, "all_tenants")):
        return False
    return call.may("security_service:get_all_security_services")


def _refuse_both(call: Call, wanted: Mapping[str, Any], kind: str) -> None:
    if not wanted.get("default_ad_site"):
        return
    if call.version < since(76):
        raise InvalidInput('"default_ad_site" is only supported from API version 2.76.')
    if kind == "active_directory" and wanted.get("server"):
        raise InvalidInput(
            "Invalid input received: Cannot create security service because both server and 'default_ad_site' were "
            "provided, Specify either server or 'default_ad_site'."
        )


def _texts(wanted: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: wanted[name] for name in _TEXTS if name in wanted}
    for name, value in found.items():
        if value is not None and (not isinstance(value, str) or len(value) > _TEXTS[name]):
            raise InvalidInput(f"Invalid input received: {name} must be text of at most {_TEXTS[name]} characters.")
    return found


def _kept_password(call: Call, wanted: Mapping[str, Any]) -> dict[str, str | None]:
    """Store the password that the body has; return the column for its reference, nothing if the body has none."""
    if "password" not in wanted:
        return {}
    password = wanted["password"]
    if password is None:
        return {"password_ref": None}
    if not isinstance(password, str) or len(password) > _LONGEST_PASSWORD:
        raise InvalidInput(f"Invalid input received: password must be text of at most {_LONGEST_PASSWORD} characters.")
    ref = call.service.vault.store(call.caller, "isthmus security service", {"password": password})
    call.outside.undo.append(partial(call.service.vault.delete, call.caller, ref))
    return {"password_ref": ref}


def _password(call: Call, row: Row) -> str | None:
    """Return the password; None where there is none, or Barbican does not give it to this caller."""
    if not row["password_ref"]:
        return None
    try:
        return str(call.service.vault.fetch(call.caller, row["password_ref"])["password"])
    except (NotAllowed, NotFound):
        # An administrator who looks at another project's, or a secret that its owner deleted in Barbican.
        return None


def _view(call: Call, row: Row, password: str | None) -> dict[str, Any]:
    return _DETAIL.at(call.version, admin=False)({**row, "password": password})


ROUTES = (
    Route("GET", "/security-services", index),
    Route("POST", "/security-services", create),
    Route("GET", "/security-services/detail", detail),
    Route("GET", "/security-services/{service_id}", show),
    Route("PUT", "/security-services/{service_id}", update),
    Route("DELETE", "/security-services/{service_id}", delete),
)
