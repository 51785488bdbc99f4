"""What the listener serves: one WSGI application with the layers that every API of Isthmus has around it.

From outside in: request id, health check, faults of the layers themselves, Keystone's token check, the application.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from oslo_config.cfg import ConfigOpts
from oslo_context.context import generate_request_id
from oslo_middleware import healthcheck, request_id

from isthmus.control.http import send_fault
from isthmus.control.tokens import TokenCheck, Wsgi

Headers = list[tuple[str, str]]

_REQUEST_ID_HEADERS = (request_id.HTTP_RESP_HEADER_REQUEST_ID, "x-compute-request-id")
"""OpenStack's, and Coriolis' (and Nova's) too."""


def mount(root: Wsgi, below: Mapping[str, Wsgi]) -> Wsgi:
    """Return one application: those `below` answer under their prefixes (as `/share`), `root` all else."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        for prefix, application in below.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + prefix
                environ["PATH_INFO"] = path[len(prefix) :] or "/"
                return application(environ, start_response)
        return root(environ, start_response)

    return answer


def wrap(conf: ConfigOpts, application: Wsgi) -> Wsgi:
    """Return the application inside the layers that every API has."""
    layered: Wsgi = TokenCheck(conf, application) if conf.api.auth_strategy == "keystone" else application
    health = healthcheck.Healthcheck(None, conf)
    layered = _as_faults(layered)

    def choose(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # oslo.middleware's health check is an application of its own, beside the one it tells of.
        chosen: Wsgi = health if environ.get("PATH_INFO") == "/healthcheck" else layered
        return chosen(environ, start_response)

    return _with_request_id(choose)


def _with_request_id(application: Wsgi) -> Wsgi:
    """Give each request an id, as oslo.middleware does (which takes requests apart and puts them together for it)."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        given = environ.get("HTTP_X_OPENSTACK_REQUEST_ID", "")
        if re.match(request_id.ID_FORMAT, given):
            environ[request_id.GLOBAL_REQ_ID] = given
        identity = environ[request_id.ENV_REQUEST_ID] = generate_request_id()

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            names = {name.lower() for name, _ in headers}
            added = [(name, identity) for name in _REQUEST_ID_HEADERS if name not in names]
            return start_response(status, [*headers, *added], exc_info)

        return application(environ, start)

    return answer


def _as_faults(application: Wsgi) -> Wsgi:
    """Give errors of the layers below (Keystone does not answer) the form of all faults."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        started: list[tuple[str, Headers]] = []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            del exc_info
            started.append((status, headers))
            return lambda _: None

        chunks = application(environ, start)
        status, headers = started[-1]
        code = int(status[:3])
        if code < 400 or _content_type(headers) == "application/json":
            start_response(status, headers)
            return chunks
        if hasattr(chunks, "close"):
            chunks.close()
        message = "Keystone does not answer; try again" if code == 503 else status
        return send_fault(start_response, status, message)

    return answer


def _content_type(headers: Headers) -> str:
    return next((value.partition(";")[0] for name, value in headers if name.lower() == "content-type"), "")
