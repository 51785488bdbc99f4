"""The shares API as one WSGI application.

Falcon reads requests and writes answers; which handler answers is decided by `routing`, as it depends on the
microversion. Each call is one database transaction, tried again if the database sacrifices it to end a deadlock.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import falcon
import orjson
from oslo_middleware import request_id
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput, IsthmusError, Unavailable
from isthmus.control.http import caller_of
from isthmus.shares.api.call import Answer, Call, Outside, Service
from isthmus.shares.api.faults import NoSuchRoute, fault_body
from isthmus.shares.api.routing import Route, Routes
from isthmus.shares.api.versions import EXPERIMENTAL_HEADER, HEADER, OLDEST, Version, asked_version, version_document
from isthmus.shares.store.deadlocks import TRIES, is_deadlock, was_dead

log = logging.getLogger(__name__)


class SharesApi:
    """Answers all that comes below `/v2`."""

    def __init__(self, service: Service, routes: Routes) -> None:
        self._service = service
        self._routes = routes

    def __call__(self, req: falcon.Request, resp: falcon.Response, path: str) -> None:
        """Answer one request; `path` is what stands after `/v2`."""
        version = OLDEST
        try:
            version = asked_version(req.get_header(HEADER))
            answer = self._answer(req, path, version)
        except IsthmusError as error:
            answer = Answer(error.status, fault_body(error.status, error.message))
            if error.status == 401:
                resp.set_header("WWW-Authenticate", "Keystone")
        _write(resp, answer)
        resp.set_header(HEADER, str(version))
        resp.set_header("Vary", HEADER)
        if _is_experimental(req):
            resp.set_header(EXPERIMENTAL_HEADER, "True")

    def _answer(self, req: falcon.Request, path: str, version: Version) -> Answer:
        if not path.strip("/"):
            return Answer(200, version_document(_base_url(req)))
        caller = caller_of(req, self._service.conf)
        project, parts = self._routes.split(path)
        route, variables = self._routes.find(req.method, parts, version, experimental=_is_experimental(req))
        if project is not None and project != caller.project_id:
            raise InvalidInput("Malformed request url: its project is not the token's; use a token of that project")
        facts = {
            "service": self._service,
            "caller": caller,
            "version": version,
            "query": {key: value[-1] if isinstance(value, list) else value for key, value in req.params.items()},
            "base_url": _base_url(req),
            "path": path,
            "request_id": req.env.get(request_id.ENV_REQUEST_ID, ""),
            "experimental": _is_experimental(req),
            "request": req,
        }
        return self._in_transaction(route, {name: unquote(value) for name, value in variables.items()}, facts)

    def _in_transaction(self, route: Route, variables: dict[str, str], facts: dict[str, Any]) -> Answer:
        for tries_left in reversed(range(TRIES)):
            outside = Outside()
            try:
                with self._service.database.transaction() as session:
                    found = route.handler(Call(session=session, now=utc_now(), outside=outside, **facts), **variables)
            except Exception as error:
                _do_all(outside.undo)
                if isinstance(error, DBAPIError) and tries_left and (is_deadlock(error) or was_dead(error)):
                    continue
                if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
                    raise Unavailable("the database does not answer now; try again") from error
                raise
            else:
                _do_all(outside.finish)
                return found if isinstance(found, Answer) else Answer(200, found)
        raise AssertionError("unreachable: the last try returns or raises")


def create_application(service: Service, routes: Routes) -> "falcon.App[falcon.Request, falcon.Response]":
    """Return the API, to be called with paths from which the prefix that it is mounted under was taken."""
    app: falcon.App[falcon.Request, falcon.Response] = falcon.App()
    # Values with commas are values, not lists.
    app.req_options.auto_parse_qs_csv = False
    app.req_options.keep_blank_qs_values = True
    answer = SharesApi(service, routes)

    def below_v2(req: falcon.Request, resp: falcon.Response, **found: str | None) -> None:
        answer(req, resp, found["path"] or "")

    def root(req: falcon.Request, resp: falcon.Response, **_: str | None) -> None:
        if req.path not in {"", "/"}:
            raise NoSuchRoute("The resource could not be found.")
        _write(resp, Answer(300, version_document(_base_url(req))))

    app.add_sink(root, "/")
    app.add_sink(below_v2, r"/v2(?P<path>/.*)?$")
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _falcons)
    app.add_error_handler(IsthmusError, _ours)
    return app


def _do_all(acts: Iterable[Callable[[], None]]) -> None:
    for act in acts:
        try:
            act()
        except IsthmusError as error:
            # The answer is decided by the transaction; what is left is at worst an unused secret.
            log.warning("what a call did outside the database could not be settled: %s", error.message)


def _base_url(req: falcon.Request) -> str:
    return str(req.prefix).rstrip("/")


def _is_experimental(req: falcon.Request) -> bool:
    return (req.get_header(EXPERIMENTAL_HEADER) or "").lower() == "true"


def _write(resp: falcon.Response, answer: Answer) -> None:
    resp.status = answer.status
    if answer.body is not None:
        resp.content_type = "application/json"
        resp.data = orjson.dumps(answer.body, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _plain(value: object) -> object:
    """Return what JSON has for a value that views may hold and orjson does not know, or leaves out a part of."""
    if isinstance(value, datetime):
        # Clients parse Manila's times, which have microseconds also where there are none.
        return value.isoformat(timespec="microseconds")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        # MariaDB's sums.
        return int(value) if value == int(value) else float(value)
    raise TypeError(f"an answer holds a {type(value).__name__}, which JSON has no form for")


def _ours(req: falcon.Request, resp: falcon.Response, error: IsthmusError, params: Mapping[str, Any]) -> None:
    del req, params
    _write(resp, Answer(error.status, fault_body(error.status, error.message)))


def _falcons(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: Mapping[str, Any]) -> None:
    del req, params
    message = error.description or error.title or "the request cannot be served"
    _write(resp, Answer(error.status_code, fault_body(error.status_code, message)))


def _unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, params: Mapping[str, Any]) -> None:
    del params
    identity = req.env.get(request_id.ENV_REQUEST_ID, "")
    # A traceback's own lines show code, not values; the error's text may hold a statement with values.
    log.error("%s %s failed (%s)", req.method, req.path, identity, exc_info=error)
    message = f"Isthmus failed in a way it did not foresee; its log tells more under {identity}"
    _write(resp, Answer(500, fault_body(500, message)))
