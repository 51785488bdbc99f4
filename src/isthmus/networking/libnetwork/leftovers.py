"""What a dead engine or a killed agent left behind: endpoints that Docker forgot, addresses it never gave back.

Docker's own list says what should be there. It is asked now and then, from a thread that answers nobody.
"""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from isthmus.control.errors import IsthmusError
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.configuration import sockets_of
from isthmus.networking.libnetwork.addresses import PREFIX, Addresses
from isthmus.networking.libnetwork.connectivity import Connectivity
from isthmus.networking.libnetwork.engine import Engine, missing_too_long
from isthmus.networking.libnetwork.networks import AUXILIARY_PREFIX, Networks
from isthmus.networking.libnetwork.records import Progress
from isthmus.networking.model import Key, Owner

log = logging.getLogger(__name__)


class Leftovers:
    """One sweep after the other."""

    def __init__(
        self,
        agent: Agent,
        networks: Networks,
        connectivity: Connectivity,
        addresses: Addresses,
        *,
        engine: Engine | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`[network_agent] docker_patience` is how long Docker may lack what is held, before it is released."""
        self._agent = agent
        self._networks = networks
        self._connectivity = connectivity
        self._addresses = addresses
        self._engine = engine
        self._clock = clock
        self._unfinished = networks.being(Progress.MAKING)
        self._missing: dict[str, float] = {}
        self._patience = float(agent.conf.network_agent.docker_patience)
        self._warned = False

    def sweep(self) -> None:
        """Undo what a killed agent began, and release what Docker does not know."""
        for docker_id in list(self._unfinished):
            log.warning("undoing network %s of Docker's, whose making a crash cut off", docker_id)
            self._networks.finish(docker_id)
            self._unfinished.remove(docker_id)
        for docker_id in self._networks.being(Progress.DELETING):
            self._networks.finish(docker_id)
        self._connectivity.close_leftovers()
        self._addresses.delete_untold()
        if self._engine is None:
            return
        held = [each.wish.key.id for each in self._agent.attachments.list_all(Owner.LIBNETWORK)]
        held = [each for each in held if not each.startswith(AUXILIARY_PREFIX)]
        present = self._engine.look()
        if held and not present.may_be_believed(frozenset(self._networks.being(Progress.READY))):
            self._missing = {}
            if not self._warned:
                log.warning(
                    "Docker on %s has none of the networks that were made here: nothing is released before it has one; "
                    "see whether [network_agent] docker_socket is the engine that this agent serves",
                    self._agent.conf.network_agent.docker_socket,
                )
            self._warned = True
            return
        self._warned = False
        known = {each: self._missing.get(each, float("inf")) for each in held}
        self._missing, lost = missing_too_long(self._clock(), present.endpoints, known, self._patience)
        for each in lost:
            what = "address" if each.startswith(PREFIX) else "endpoint"
            log.warning("releasing %s %s, which Docker does not have", what, each)
            # First, or the next container that gets the port has its holes.
            self._connectivity.close(each)
            self._agent.attachments.release(Key(Owner.LIBNETWORK, each))

    def sweep_for_ever(self, interval: float) -> None:
        """Sweep again and again; what fails is tried again."""
        while True:
            try:
                self.sweep()
            except IsthmusError as error:
                log.info("the sweep waits: %s", error.message)
            except Exception:
                log.exception("the sweep failed")
            time.sleep(interval)


def start_sweeping(agent: Agent, networks: Networks, connectivity: Connectivity, addresses: Addresses) -> None:
    """Start the thread. It does nothing that may not be cut off."""
    options = agent.conf.network_agent
    plugin = sockets_of(agent.conf).plugin
    engine = Engine(Path(options.docker_socket), plugin.stem) if options.docker_socket and plugin else None
    leftovers = Leftovers(agent, networks, connectivity, addresses, engine=engine)
    threading.Thread(
        target=leftovers.sweep_for_ever, args=(float(options.repair_interval),), name="leftovers", daemon=True
    ).start()
