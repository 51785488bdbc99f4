"""The listener: gunicorn serves one WSGI application with the layers that every API of Isthmus has around it.

From outside in: request id, health check, faults of the layers themselves, Keystone's token check, the application.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import webob  # type: ignore[import-untyped]
from gunicorn.app.base import BaseApplication
from keystonemiddleware.auth_token import AuthProtocol
from oslo_config.cfg import ConfigOpts
from oslo_log import log
from oslo_middleware import healthcheck, request_id

from isthmus.control import metrics
from isthmus.control.errors import InvalidInput
from isthmus.control.http import fault_body
from isthmus.control.readiness import say_ready
from isthmus.control.streaming import Hub, detaching

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

KEEP_ALIVE_SECONDS = 75
"""How long a connection may lie idle before the server closes it; gunicorn's own 2 are soon over on a busy machine."""


class _RequestId(request_id.RequestId):  # type: ignore[misc] # oslo.middleware is not followed by mypy
    """oslo.middleware's, under Coriolis' (and Nova's) header name too."""

    compat_headers = ["x-compute-request-id"]  # noqa: RUF012 - the base class has it so


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
    layered = application
    if conf.api.auth_strategy == "keystone":
        # The application itself decides what needs a token, and says so as a fault.
        layered = AuthProtocol(layered, {"oslo_config_config": conf, "delay_auth_decision": True})
    health = healthcheck.Healthcheck(None, conf)
    layered = _as_faults(layered)

    def choose(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # oslo.middleware's health check is an application of its own, beside the one it tells of.
        chosen: Wsgi = health if environ.get("PATH_INFO") == "/healthcheck" else layered
        return chosen(environ, start_response)

    outermost = _RequestId(choose)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        chunks: Iterable[bytes] = outermost(environ, start_response)
        return chunks

    return answer


def _as_faults(application: Wsgi) -> Wsgi:
    """Give errors of the layers below (Keystone does not answer) the form of all faults."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        response = webob.Request(environ).get_response(application)
        if response.status_int >= 400 and response.content_type != "application/json":
            message = "Keystone does not answer; try again" if response.status_int == 503 else response.status
            body = fault_body(response.status_int, message)
            response = webob.Response(status=response.status_int, json_body=body)
        chunks: Iterable[bytes] = response(environ, start_response)
        return chunks

    return answer


class _Listener(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn without its command line: all settings come from `[api]`."""

    def __init__(self, conf: ConfigOpts, make: Callable[[], Wsgi]) -> None:
        self._conf = conf
        self._make = make
        super().__init__()

    def load_config(self) -> None:
        """Take the settings; called by gunicorn."""
        api = self._conf.api
        host = f"[{api.host}]" if ":" in api.host else api.host
        settings = {
            "bind": f"{host}:{api.port}",
            "workers": api.processes,
            "worker_class": "isthmus.control.streaming.StreamingWorker",
            "threads": api.threads,
            "graceful_timeout": 30,
            # Answers that wait for a cloud take up to ask_timeout.
            "timeout": api.ask_timeout + 60,
            # A client that sends just as an idle connection is closed is cut off, and may not send a POST again.
            # Clients and pools keep connections for about a minute: theirs should be the shorter wait.
            "keepalive": KEEP_ALIVE_SECONDS,
            # An environment in a URL is long.
            "limit_request_line": 8190,
            "post_worker_init": _say_ready,
            # /metrics is the parent's: it lives as long as the service does.
            "when_ready": self._show_metrics,
            "child_exit": _forget,
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def _show_metrics(self, server: object) -> None:
        del server
        metrics.listen(self._conf)

    def load(self) -> Wsgi:
        """Make the application, in each process anew; called by gunicorn after its fork."""
        hub = Hub(self._conf.api.streams, self._conf.api.stream_seconds)
        return detaching(wrap(self._conf, self._make()), hub)


def _forget(server: object, worker: Any) -> None:
    del server
    metrics.forget_process(worker.pid)


def _say_ready(worker: object) -> None:
    del worker
    say_ready()


def serve(conf: ConfigOpts, make: Callable[[], Wsgi]) -> None:
    """Serve what `make` returns at `[api] host` and `port` until SIGTERM or SIGINT; running requests are finished.

    Raises `InvalidInput` for a configuration that cannot work.
    """
    if conf.api.auth_strategy == "noauth" and not _is_loopback(conf.api.host):
        raise InvalidInput(
            f"[api] auth_strategy = noauth makes every caller an administrator and [api] host = {conf.api.host} lets "
            "others call; use 127.0.0.1, or auth_strategy = keystone"
        )
    log.setup(conf, "isthmus")
    _Listener(conf, make).run()


def _is_loopback(host: str) -> bool:
    return host in {"localhost", "::1"} or host.startswith("127.")
