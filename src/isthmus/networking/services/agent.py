"""`isthmus network-agent`: one process a host, one gunicorn worker with threads, on sockets that only root can open."""

import fcntl
import importlib
import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import falcon
from gunicorn.app.base import BaseApplication
from oslo_config.cfg import ConfigOpts
from oslo_log import log as oslo_log

from isthmus.control.errors import Conflict, InvalidInput, IsthmusError
from isthmus.control.http import serve_faults
from isthmus.control.readiness import say_ready
from isthmus.networking.attaching.attachments import HostAttachments
from isthmus.networking.attaching.chores import Chores
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Limits, Parts, make_parts
from isthmus.networking.attaching.publishing import HostPublishing
from isthmus.networking.attaching.repairs import Repairs
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import Sockets, secret_references, sockets_of
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.services.background import Background
from isthmus.networking.services.health import Health
from isthmus.networking.services.ports import add_port_routes
from isthmus.networking.store.database import Database

log = logging.getLogger(__name__)

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]

_DOCKER = ("/Plugin.", "/NetworkDriver.", "/IpamDriver.")


@dataclass(frozen=True)
class Running:
    """The agent at work."""

    agent: Agent
    parts: Parts
    background: Background
    application: Wsgi


def assemble(conf: ConfigOpts) -> Running:
    """Return the agent with all its parts, its threads not started. Nothing is sent anywhere yet but to OVSDB."""
    options = conf.network_agent
    projects = Projects(conf, secret_references(conf))
    binders = Binders(conf)
    limits = Limits(options.attach_timeout, options.network_seconds, options.warm_ports, options.warm_seconds)
    database = Database(Path(conf.state_dir) / "network-agent.sqlite")
    parts = make_parts(options.host or _host_of(binders), limits, projects, binders, database)
    networks = Networks(parts)
    publishing = HostPublishing(parts, conf)
    attachments = HostAttachments(parts, networks, publishing)
    agent = Agent(conf, parts.host, attachments, publishing, projects.neutron)
    repairs = Repairs(parts)

    def repair() -> None:
        publishing.restore()
        repairs.do_round()

    background = Background(parts, Chores(parts, networks).do_round, repair, options.repair_interval)
    return Running(agent, parts, background, _application(agent, Health(parts, repairs)))


def run(conf: ConfigOpts) -> None:
    """Serve until SIGTERM or SIGINT. `Conflict` if an agent runs on this state_dir already."""
    oslo_log.setup(conf, "isthmus")
    secret_references(conf)
    sockets = sockets_of(conf)
    with _only_one(Path(conf.state_dir)):
        for path in filter(None, (sockets.own, sockets.plugin)):
            path.parent.mkdir(parents=True, exist_ok=True)
        _Listener(conf, sockets).run()


class _Listener(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """gunicorn without its command line."""

    def __init__(self, conf: ConfigOpts, sockets: Sockets) -> None:
        self._conf = conf
        self._sockets = sockets
        super().__init__()

    def load_config(self) -> None:
        """Take the settings; called by gunicorn."""
        options = self._conf.network_agent
        settings = {
            "bind": [f"unix:{path}" for path in (self._sockets.own, self._sockets.plugin) if path],
            "umask": 0o177,
            "workers": 1,
            "worker_class": "gthread",
            "threads": options.threads,
            "keepalive": 60,
            "graceful_timeout": int(options.attach_timeout) + 5,
            "timeout": int(options.attach_timeout) * 4 + 60,
            "post_worker_init": lambda worker: say_ready(),  # noqa: ARG005 - gunicorn's
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Wsgi:
        """Assemble and start the agent, in the worker's process; called by gunicorn after its fork."""
        os.umask(0o077)
        running = assemble(self._conf)
        running.background.start()
        return running.application


def _application(agent: Agent, health: Health) -> Wsgi:
    own: falcon.App[Any, Any] = falcon.App()
    serve_faults(own)
    own.add_route("/health", health)
    add_port_routes(own, agent)
    _door("isthmus.networking.cni.application").add_routes(own, agent)
    docker: Wsgi = _door("isthmus.networking.libnetwork.application").make_application(agent)

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        chosen: Wsgi = docker if environ.get("PATH_INFO", "").startswith(_DOCKER) else own
        return chosen(environ, start_response)

    return answer


def _door(module: str) -> Any:
    return importlib.import_module(module)


def _host_of(binders: Binders) -> str:
    """Return OVN's name of this host, to which Neutron binds its ports; else the system's."""
    database = getattr(binders.get(), "database", None)
    try:
        found = database.hostname() if database is not None else None
    except IsthmusError as error:
        raise InvalidInput(
            f"Open vSwitch does not tell this host's name ({error.message}); start it, or set [network_agent] host"
        ) from error
    return found or socket.gethostname()


class _only_one:  # noqa: N801 - reads as a function
    """Hold the state directory for this process; the kernel lets go of it however the process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "network-agent.lock"

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"a network agent runs with {self._path.parent} already; stop it first") from None

    def __exit__(self, *_: object) -> None:
        self._file.close()
