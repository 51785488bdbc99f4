"""Networks from memory: a known one is given at once and read again behind, so that no attachment waits for Neutron."""

import threading
import time
from collections.abc import Callable

from isthmus.control.errors import IsthmusError, NotFound, Unavailable
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.model import Network

_BELIEVED = 600.0
"""Seconds after which a network is read before it is used, unless Neutron is silent."""


class Networks:
    """The networks of all projects."""

    def __init__(self, parts: Parts, clock: Callable[[], float] = time.time) -> None:
        self._parts = parts
        self._clock = clock
        self._lock = threading.Lock()
        self._stale: set[tuple[str, str]] = set()

    def get(self, name_or_id: str, project: str) -> Network:
        """Return a network; see `attaching.contract.Attachments.network`."""
        known = self._parts.networks.recall(project, name_or_id)
        age = self._clock() - known[1] if known else None
        if known and age is not None and age < _BELIEVED:
            if age >= self._parts.limits.network_fresh:
                with self._lock:
                    self._stale.add((project, known[0].id))
                self._parts.nudge.set()
            return known[0]
        try:
            return self.read(name_or_id, project)
        except Unavailable:
            if known is None:
                raise
            return known[0]

    def read(self, name_or_id: str, project: str) -> Network:
        """Return a network as Neutron has it now, and remember it."""
        found = self._parts.neutron(project).find_network(name_or_id)
        self._parts.networks.remember(project, found, self._clock())
        return found

    def refresh(self) -> None:
        """Read again what was used while it was stale."""
        with self._lock:
            stale, self._stale = self._stale, set()
        for project, network_id in sorted(stale):
            try:
                self.read(network_id, project)
            except NotFound:
                self._parts.networks.forget(network_id)
            except IsthmusError:
                with self._lock:
                    self._stale.add((project, network_id))
                raise
