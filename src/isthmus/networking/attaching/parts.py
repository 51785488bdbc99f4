"""What the rooms of attaching share, made once by the agent."""

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from isthmus.control.errors import Unavailable
from isthmus.networking.attaching.locks import KeyLocks
from isthmus.networking.binding.contract import Binder
from isthmus.networking.binding.registry import Binders
from isthmus.networking.model import Port
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.store.attachments import AttachmentStore
from isthmus.networking.store.database import Database
from isthmus.networking.store.networks import NetworkStore
from isthmus.networking.store.publications import PublicationStore
from isthmus.networking.store.spare_ports import SparePortStore


@dataclass(frozen=True)
class Limits:
    """Times in seconds, and how many warm ports a pool has."""

    attach: float
    network_fresh: float
    warm_ports: int
    warm_seconds: float


class InFlight:
    """Creations of ports that Neutron has not answered: their ports are not ours to clean up yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tags: set[str] = set()

    @contextmanager
    def creating(self) -> Iterator[str]:
        """Give a tag for what is created inside; there it must also be written down."""
        tag = f"isthmus.try:{uuid.uuid4().hex[:16]}"
        with self._lock:
            self._tags.add(tag)
        try:
            yield tag
        finally:
            with self._lock:
                self._tags.discard(tag)

    def tags(self) -> frozenset[str]:
        """Return the tags of all that are under way."""
        with self._lock:
            return frozenset(self._tags)


class LookedOver:
    """Used ports of which Neutron has said that nobody changed them, until they are anybody's.

    In memory alone: whoever starts anew asks again.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Port] = {}
        self._left: set[str] = set()

    def begin(self) -> None:
        """Say that Neutron is about to be asked; one caller at a time."""
        with self._lock:
            self._left.clear()

    def note(self, port: Port) -> None:
        """Write down a port as Neutron has it, unless it was taken since it was asked about."""
        with self._lock:
            if port.id not in self._left:
                self._found[port.id] = port

    def knows(self, port_id: str) -> bool:
        """Return whether a port was looked over."""
        with self._lock:
            return port_id in self._found

    def leave(self, port_id: str) -> Port | None:
        """Return the port as Neutron had it, None if it was not looked over; it is somebody's from here on."""
        with self._lock:
            self._left.add(port_id)
            return self._found.pop(port_id, None)


@dataclass(frozen=True)
class Parts:
    """The agent's parts. `nudge` is set when there is something to do behind, `alarm` when something may be broken."""

    host: str
    limits: Limits
    projects: Projects
    binders: Binders
    attachments: AttachmentStore
    spares: SparePortStore
    networks: NetworkStore
    publications: PublicationStore
    locks: KeyLocks = field(default_factory=KeyLocks)
    in_flight: InFlight = field(default_factory=InFlight)
    looked_over: LookedOver = field(default_factory=LookedOver)
    nudge: threading.Event = field(default_factory=threading.Event)
    alarm: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def binding(self, binder: str, port_id: str, deadline: float) -> Iterator[Binder]:
        """Give a binder to be used for one port, by nobody else meanwhile."""
        with self.locks.hold(("port", port_id), deadline):
            yield self.binders.get(binder)

    def neutron(self, project: str) -> Neutron:
        """Return the client of a project."""
        return self.projects.neutron(project)

    def deadline(self, given: float | None) -> float:
        """Return the deadline of a call that may have been given one."""
        return time.monotonic() + self.limits.attach if given is None else given


def make_parts(host: str, limits: Limits, projects: Projects, binders: Binders, database: Database) -> Parts:
    """Return the parts on one store."""
    return Parts(
        host,
        limits,
        projects,
        binders,
        AttachmentStore(database),
        SparePortStore(database),
        NetworkStore(database),
        PublicationStore(database),
    )


def check_time(deadline: float, what: str) -> None:
    """Raise `Unavailable` if the deadline has passed."""
    if time.monotonic() >= deadline:
        raise Unavailable(f"there was no time left to {what}; try again")
