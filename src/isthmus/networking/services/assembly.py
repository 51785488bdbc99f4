"""The agent put together: parts, doors and threads."""

import importlib
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import falcon
from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import InvalidInput, IsthmusError
from isthmus.control.http import serve_faults
from isthmus.networking.attaching.attachments import HostAttachments
from isthmus.networking.attaching.chores import Chores
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Limits, Parts, make_parts
from isthmus.networking.attaching.publishing import HostPublishing
from isthmus.networking.attaching.repairs import Repairs
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import secret_references
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.services.background import Background
from isthmus.networking.services.health import Health
from isthmus.networking.services.ports import add_port_routes
from isthmus.networking.store.database import Database

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
    agent = Agent(conf, parts.host, attachments, publishing, projects.neutron, projects.name_of_id)
    repairs = Repairs(parts)

    def repair() -> None:
        publishing.restore()
        repairs.do_round()

    background = Background(parts, Chores(parts, networks).do_round, repair, options.repair_interval)
    return Running(agent, parts, background, _application(agent, Health(parts, repairs)))


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
