"""The listener: gunicorn, whose processes each serve one WSGI application.

A single process loads the application itself, so the one above it, which only starts it again, stays small. Several
share what was loaded before they were forked.
"""

import gc
import importlib
from typing import Any

from gunicorn.app.base import BaseApplication
from oslo_config.cfg import ConfigOpts
from oslo_log import log

from isthmus.control import metrics
from isthmus.control.errors import InvalidInput
from isthmus.control.heaps import settle
from isthmus.control.loopback import is_loopback
from isthmus.control.readiness import say_ready
from isthmus.control.sparing import UNUSED, without
from isthmus.control.streaming import Hub, detaching

KEEP_ALIVE_SECONDS = 75
"""How long a connection may lie idle before the server closes it; gunicorn's own 2 are soon over on a busy machine."""


class _Listener(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn without its command line: all settings come from `[api]`."""

    def __init__(self, conf: ConfigOpts, application: str, loader: str) -> None:
        self._conf = conf
        self._application = application
        self._loader = loader
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
            "pre_fork": _share_memory,
            "post_worker_init": _begin,
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

    def load(self) -> Any:
        """Make the application, in each process anew; called by gunicorn after its fork."""
        _load(self._loader, self._conf)
        application = _named(self._application)(self._conf)
        return detaching(application, Hub(self._conf.api.streams, self._conf.api.stream_seconds))


def _forget(server: object, worker: Any) -> None:
    del server
    metrics.forget_process(worker.pid)


def _share_memory(server: object, worker: object) -> None:
    """Keep the collector's hands off what is loaded, or its marks would give each process its own copy of it all."""
    del server, worker
    gc.collect()
    gc.freeze()


def _begin(worker: object) -> None:
    del worker
    settle()
    say_ready()


def _named(path: str) -> Any:
    """Return the function that is named as `module:function`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _load(loader: str, conf: ConfigOpts) -> None:
    with without(*UNUSED):
        _named(loader)(conf)


def serve(conf: ConfigOpts, application: str, loader: str) -> None:
    """Serve at `[api] host` and `port` until SIGTERM or SIGINT; running requests are finished.

    `application` and `loader` are `module:function`s that take the configuration: one returns a WSGI application, the
    other imports what that will need. Raises `InvalidInput` for a configuration that cannot work.
    """
    if conf.api.auth_strategy == "noauth" and not is_loopback(conf.api.host):
        raise InvalidInput(
            f"[api] auth_strategy = noauth makes every caller an administrator and [api] host = {conf.api.host} lets "
            "others call; use 127.0.0.1, or auth_strategy = keystone"
        )
    log.setup(conf, "isthmus")
    if metrics.is_on(conf):
        metrics.share_between_processes()
    if conf.api.processes > 1:
        # Loaded once, before the forks, and shared.
        _load(loader, conf)
    _Listener(conf, application, loader).run()
