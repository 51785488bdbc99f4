"""Services: the managers of back ends; whether they live, whether new shares may go to them, and going through all.

A service is up while its heartbeat is younger than `[shares] service_down_time`. Whether the storage behind it answers
is another thing, which Manila does not tell: `isthmus:answers`, and if not, `isthmus:trouble` says why.
"""

from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.shares.api.call import Answer, Call
from isthmus.shares.api.queries import FALSE, TRUE
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Field, Row, View
from isthmus.shares.model import Kind
from isthmus.shares.store import jobs
from isthmus.shares.store import services as store

_VIEW = View(
    [
        Field("id"),
        Field("binary"),
        Field("host"),
        Field("zone", "availability_zone"),
        Field("status"),
        Field("state"),
        Field("updated_at", "heartbeat_at"),
        Field("disabled_reason", since=since(83)),
        Field("ensuring", since=since(86)),
        Field("isthmus:answers", "answers"),
        Field("isthmus:trouble", "trouble"),
    ]
)
_CHANGED = View(
    [
        Field("host"),
        Field("binary"),
        Field("status"),
        Field("disabled_reason", since=since(83)),
        Field("ensuring", since=since(86)),
    ]
)
_LONGEST_REASON = 255


def index(call: Call) -> dict[str, Any]:
    """List the services; what no service can be (an unknown status, zone or truth value) finds none, as in Manila."""
    call.allow("service:index")
    wanted = _wanted(call)
    state = call.query.get("state")
    if wanted is None:
        return {"services": []}
    view = _VIEW.at(call.version, admin=True)
    shown = [_with_state(call, service) for service in store.matching(call.session, wanted)]
    return {"services": [view(service) for service in shown if state in {None, "", service["state"]}]}


def enable(call: Call) -> dict[str, Any]:
    """Let new shares go to the back end again."""
    call.allow("service:update")
    service = _named(call)
    store.set_disabled(call.session, service["id"], disabled=False, reason=None)
    return _changed(call, service, status="enabled", reason=None)


def disable(call: Call) -> dict[str, Any]:
    """Keep new shares away from the back end."""
    call.allow("service:update")
    reason = _reason(call)
    service = _named(call)
    store.set_disabled(call.session, service["id"], disabled=True, reason=reason)
    return _changed(call, service, status="disabled", reason=reason)


def ensure_shares(call: Call) -> Answer:
    """Have the manager go through all shares of its back end and put right what differs."""
    call.allow("service:ensure_shares")
    host = _ensured_host(call)
    service = store.find(call.session, host, "manila-share")
    if service is None:
        raise NotFound(f"manila-share binary for '{host}' host not found")
    if not store.is_up(service, call.now, call.conf.shares.service_down_time):
        raise Conflict("The service must have its state set to 'up' prior to running ensure shares.")
    if store.set_ensuring(call.session, service["id"]):
        jobs.enqueue(
            call.session,
            host=host,
            kind=Kind.ENSURE_SHARES,
            subject=f"service-{service['id']}",
            now=call.now,
            project_id=call.project_id,
            request_id=call.request_id,
        )
    return Answer(202)


def _wanted(call: Call) -> dict[str, Any] | None:
    """Return columns' values from the query; None where nothing can match."""
    names = {"host": "host", "binary": "binary", "zone": "availability_zone"}
    wanted: dict[str, Any] = {column: call.query[name] for name, column in names.items() if call.query.get(name)}
    status = call.query.get("status")
    if status:
        if status not in {"enabled", "disabled"}:
            return None
        wanted["disabled"] = status == "disabled"
    ensuring = call.query.get("ensuring", "").lower()
    if ensuring and call.version >= since(93):
        if ensuring not in TRUE | FALSE:
            return None
        wanted["ensuring"] = ensuring in TRUE
    return wanted


def _with_state(call: Call, service: Row) -> dict[str, Any]:
    is_up = store.is_up(service, call.now, call.conf.shares.service_down_time)
    return {
        **service,
        "status": "disabled" if service["disabled"] else "enabled",
        "state": "up" if is_up else "down",
    }


def _named(call: Call) -> Row:
    host, binary = call.body().get("host"), call.body().get("binary")
    if not isinstance(host, str) or not isinstance(binary, str):
        raise InvalidInput("Malformed request body: it must name the service's 'host' and 'binary'")
    service = store.find(call.session, host, binary)
    if service is None:
        raise NotFound(f"HostBinaryNotFound: Could not find binary {binary} on host {host}.")
    return service


def _reason(call: Call) -> str | None:
    reason = call.body().get("disabled_reason")
    if not reason:
        return None
    if call.version < since(83):
        raise InvalidInput(
            "'disabled_reason' option is not supported by this microversion. Use 2.83 or greater microversion to be "
            "able to set 'disabled_reason'."
        )
    if not isinstance(reason, str) or not 1 <= len(reason.strip()) <= _LONGEST_REASON:
        raise InvalidInput("Disabled reason contains invalid characters or is too long")
    return reason.strip()


def _changed(call: Call, service: Mapping[str, Any], *, status: str, reason: str | None) -> dict[str, Any]:
    return _CHANGED.at(call.version, admin=True)(
        {**service, "status": status, "disabled_reason": reason, "ensuring": None}
    )


def _ensured_host(call: Call) -> str:
    wanted = call.entity("ensure_shares")
    host = wanted.get("host")
    if set(call.body()) != {"ensure_shares"} or set(wanted) != {"host"} or not isinstance(host, str):
        raise InvalidInput("Malformed request body: 'ensure_shares' must name the 'host' and nothing else")
    return host


ROUTES = (
    Route("GET", "/os-services", index, until=since(6)),
    Route("PUT", "/os-services/enable", enable, until=since(6)),
    Route("PUT", "/os-services/disable", disable, until=since(6)),
    Route("GET", "/services", index, since(7)),
    Route("PUT", "/services/enable", enable, since(7)),
    Route("PUT", "/services/disable", disable, since(7)),
    Route("POST", "/services/ensure-shares", ensure_shares, since(86)),
)
