"""The projects that this host's agent serves, each with a client of its own credential.

Nothing is asked before a project is first used, so an agent starts, and keeps containers connected, while Keystone,
Barbican or Neutron are down.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.v3 import ApplicationCredential
from keystoneauth1.session import Session
from oslo_config.cfg import ConfigOpts

from isthmus.control import secrets
from isthmus.control.configuration import SERVICE_CREDENTIALS
from isthmus.control.errors import InvalidInput, NotFound, Unavailable
from isthmus.control.identity import keystone_silent, service_session
from isthmus.networking.neutron.brake import Brake
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.neutron.time_left import seconds_left

REFUSED_SECONDS = 3.0
"""Seconds for which a project whose credential could not be read is refused at once."""


class Projects:
    """Clients of Neutron by the name of a project in `[network_agent] credentials`."""

    def __init__(self, conf: ConfigOpts, references: Mapping[str, str]) -> None:
        self._conf = conf
        self._references = dict(references)
        self._clients: dict[str, Neutron] = {}
        self._brakes: dict[str, Brake] = {}
        self._lock = threading.Lock()
        """Of the brakes; never held while anything is asked."""
        self._opening = {name: threading.Lock() for name in self._references}
        self._signing_in = threading.Lock()
        self._failures: dict[str, tuple[float, str]] = {}
        """Until when a project's client is not made again, and why."""

    @property
    def names(self) -> tuple[str, ...]:
        """The projects' names, the default one first."""
        return tuple(self._references)

    def name_of(self, project: str | None) -> str:
        """Return the full name for what a wish says; `NotFound` if the agent does not serve it."""
        name = project or self.names[0]
        if name not in self._references:
            raise NotFound(
                f"this host's agent has no credential of project {name}; it serves {', '.join(self.names)}: "
                "choose one of these, or add it to [network_agent] credentials"
            )
        return name

    def name_of_id(self, project_id: str) -> str:
        """Return the name of the project with Keystone's id. `NotFound` if the agent serves none with it."""
        for name in self.names:
            if self.neutron(name).project_id == project_id:
                return name
        raise NotFound(
            f"this host's agent has no credential of project {project_id}; add one to [network_agent] credentials"
        )

    def neutron(self, project: str | None = None) -> Neutron:
        """Return the client of a project (None: the default). `NotFound`, and the errors of `control.secrets`."""
        name = self.name_of(project)
        return self._clients.get(name) or self._opened(name)

    def _opened(self, name: str) -> Neutron:
        """Return a project's client, made by one thread while the project's others wait, and no other project's."""
        what = f"read the credential of project {name}"
        with _held(self._opening[name], self._limit(what), what):
            if name in self._clients:
                return self._clients[name]
            until, why = self._failures.get(name, (0.0, ""))
            if time.monotonic() < until:
                raise Unavailable(f"{why} (a moment ago, and is not asked again for some seconds)")
            try:
                self._clients[name] = self._open(name)
            except Unavailable as error:
                self._failures[name] = (time.monotonic() + REFUSED_SECONDS, error.message)
                raise
            return self._clients[name]

    def _limit(self, what: str) -> float:
        return seconds_left(float(self._conf.network_agent.call_timeout), what)

    def refusing(self) -> str | None:
        """Return why no calls are sent to a cloud's Neutron now, in a sentence; None if they are."""
        with self._lock:
            brakes = tuple(self._brakes.values())
        return next((why for why in (brake.refusing() for brake in brakes) if why), None)

    def _open(self, name: str) -> Neutron:
        limit = self._conf.network_agent.call_timeout
        service = service_session(self._conf)
        service.session.timeout = service.session.timeout or limit
        self._sign_in(service, name)
        found = secrets.fetch(service, self._references[name])
        cloud = str(found.get("auth_url") or self._conf[SERVICE_CREDENTIALS].auth_url)
        try:
            credential = ApplicationCredential(
                auth_url=cloud,
                application_credential_id=str(found["application_credential_id"]),
                application_credential_secret=str(found["application_credential_secret"]),
            )
        except KeyError as missing:
            raise InvalidInput(f"the secret of project {name} has no {missing.args[0]}; store it again") from None
        session = Session(auth=credential, verify=service.session.verify, cert=service.session.cert, timeout=limit)
        adapter = Adapter(session, interface=service.interface, region_name=service.region_name)
        with self._lock:
            brake = self._brakes.setdefault(cloud, Brake(self._conf.network_agent.neutron_calls))
        return Neutron(adapter, limit, brake)

    def _sign_in(self, service: Adapter, name: str) -> None:
        """Have the service's own token, which all projects' credentials are read with, while others wait so long."""
        what = f"sign in to Keystone, to read the credential of project {name}"
        with _held(self._signing_in, self._limit(what), what):
            try:
                service.get_token()
            except exceptions.ClientException as error:
                raise keystone_silent(error) from None


@contextmanager
def _held(lock: threading.Lock, seconds: float, what: str) -> Iterator[None]:
    """Hold a lock; `Unavailable` if whoever has it is not answered in time."""
    if not lock.acquire(timeout=seconds):
        raise Unavailable(f"another call that waits for Keystone or Barbican kept this one from starting to {what}")
    try:
        yield
    finally:
        lock.release()
