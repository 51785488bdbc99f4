"""What every API of Isthmus shares: who calls, JSON in and out, faults, request ids.

Falcon calls the resources; keystonemiddleware and oslo.middleware wrap it (`isthmus.control.server`). Faults have
OpenStack's (and Coriolis') form: `{"error": {"fault": name, "code": status, "message": text}}`.
"""

import json
import logging
from typing import Any, NoReturn

import falcon
from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import (
    Conflict,
    InputTooLarge,
    InvalidInput,
    IsthmusError,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotSupported,
    Unavailable,
    UnsupportedMediaType,
)
from isthmus.control.identity import Caller

log = logging.getLogger(__name__)

ACTION = "isthmus.action"
"""Name in the WSGI environment: what the body of a POST …/action asks for, for the audit record."""

REQUEST_ID = "openstack.request_id"
"""Where oslo.middleware's request_id leaves it. The network agent, which is small, has no such middleware."""

FAULTS = {
    error.status: error.fault
    for error in (
        InvalidInput,
        InputTooLarge,
        NotAuthenticated,
        NotAllowed,
        NotFound,
        MethodNotAllowed,
        Conflict,
        UnsupportedMediaType,
        NotSupported,
        Unavailable,
    )
}


def fault_body(status: int, message: str) -> dict[str, Any]:
    """Return the error body of a status; one without a name of its own is a computeFault."""
    return {"error": {"fault": FAULTS.get(status, "computeFault"), "code": status, "message": message}}


def send_fault(start_response: Any, status: str, message: str) -> list[bytes]:
    """Answer a WSGI call with a fault, outside of Falcon; `status` is as `404 Not Found`."""
    body = json.dumps(fault_body(int(status[:3]), message)).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Identify:
    """Falcon middleware: puts the `Caller` into `req.context.caller`, except on the paths open to everybody."""

    def __init__(self, conf: ConfigOpts, open_paths: frozenset[str]) -> None:
        self._conf = conf
        self._noauth = conf.api.auth_strategy == "noauth"
        self._open_paths = open_paths

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:  # noqa: ARG002 - Falcon's signature
        """Read what the authentication left in the headers; raise `NotAuthenticated` if it found no valid token."""
        if req.path not in self._open_paths:
            req.context.caller = caller_of(req, self._conf)

    def process_resource(
        self, req: falcon.Request, resp: falcon.Response, resource: object, params: dict[str, Any]
    ) -> None:
        """Take the project out of the URL: it must be the token's."""
        del resp, resource
        project = params.pop("project_id", None)
        caller = getattr(req.context, "caller", None)
        if caller is None or project is None or project == caller.project_id:
            return
        if self._noauth and not req.get_header("X-Project-Id"):
            req.context.caller = Caller(caller.user_id, project, caller.roles, is_admin=True)
            return
        raise InvalidInput("Malformed request url: its project is not the token's; use a token of that project")


def caller_of(req: falcon.Request, conf: ConfigOpts) -> Caller:
    """Return who calls, from what the authentication left in the headers; `NotAuthenticated` without a valid token."""
    if conf.api.auth_strategy == "noauth":
        project = req.get_header("X-Project-Id") or conf.api.noauth_project
        return Caller("noauth", project, ("admin",), is_admin=True)
    # auth_token removes these headers from what a client sends, so they can only be its own.
    if req.get_header("X-Identity-Status") != "Confirmed":
        raise NotAuthenticated("a valid Keystone token is needed in X-Auth-Token; get one and try again")
    project = req.get_header("X-Project-Id")
    if not project:
        raise InvalidInput("the token has no project; get one scoped to a project (OS_PROJECT_NAME)")
    roles = tuple(role.strip() for role in (req.get_header("X-Roles") or "").split(",") if role.strip())
    return Caller(req.get_header("X-User-Id") or "", project, roles, req.get_header("X-Auth-Token"))


def read_object(req: falcon.Request, limit: int) -> dict[str, Any]:
    """Return the request's JSON object; an empty body is an empty object.

    Raises `InputTooLarge`, `UnsupportedMediaType` or `InvalidInput`. `limit` is in bytes.
    """
    if (req.content_length or 0) > limit:
        raise InputTooLarge(f"the body has {req.content_length} bytes; at most {limit} are accepted")
    # A chunked body has no length beforehand: its stream ends by itself, and no more than the limit is read of it.
    raw = (req.bounded_stream if req.content_length else req.stream).read(limit + 1)
    if len(raw) > limit:
        raise InputTooLarge(f"the body is larger than {limit} bytes, the most that is accepted")
    if not raw:
        return {}
    kind = (req.content_type or "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise UnsupportedMediaType(f"the body is {kind}; send application/json")
    try:
        body = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidInput("Malformed request body: it is not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise InvalidInput("Malformed request body: it must be a JSON object")
    _refuse_odd_text(body)
    if len(body) == 1 and req.path.endswith(("/action", "/actions")):
        req.env[ACTION] = next(iter(body))
    return body


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _refuse_odd_text(body: dict[str, Any]) -> None:
    # No database can keep a NUL or half of a surrogate pair, and no name, path or script rightly holds one.
    left: list[object] = [body]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left.extend(item.keys())
            left.extend(item.values())
        elif isinstance(item, list):
            left.extend(item)
        elif isinstance(item, str):
            check_text(item, "the body")


def check_text(text: str, where: str) -> None:
    """Return if a text from outside can be kept and shown; raise `InvalidInput` if not."""
    if "\x00" in text:
        raise InvalidInput(f"{where} holds a NUL character; remove it")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInput(f"{where} holds half of a surrogate pair; send proper Unicode")


def serve_faults(app: "falcon.App[falcon.Request, falcon.Response]") -> None:
    """Have every error leave the app as a fault with the right status."""
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _falcons)
    app.add_error_handler(IsthmusError, _ours)


def _ours(req: falcon.Request, resp: falcon.Response, error: IsthmusError, params: dict[str, Any]) -> None:
    del req, params
    resp.status = error.status
    resp.media = {"error": {"fault": error.fault, "code": error.status, "message": error.message}}
    if error.status == 401:
        resp.set_header("WWW-Authenticate", "Keystone")


def _falcons(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: dict[str, Any]) -> None:
    del params
    status = error.status_code
    if status == 404:
        message = f"there is no {req.path} here; GET /v1 shows what is served"
    elif status == 405:
        message = f"{req.path} does not answer to {req.method}"
    else:
        message = error.description or error.title or "the request cannot be served"
    resp.set_headers(error.headers or {})
    resp.status = status
    resp.media = fault_body(status, message)


def _unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    del params
    identity = req.env.get(REQUEST_ID, "")
    # A traceback's own lines show code, not values; the error's text may hold a statement with values.
    log.error("%s %s failed (%s)", req.method, req.path, identity, exc_info=error)
    resp.status = 500
    resp.media = fault_body(500, f"Isthmus failed in a way it did not foresee; its log tells more under {identity}")
