"""Ids of what a configuration names: security groups, QoS policies, subnets.

A group's id is remembered for a minute, so that a name costs no call of Neutron at each start of a container. Ids are
taken as they are: whether the project sees them is checked before a port is made with them (`attaching.reserving`), as
Neutron lets a caller with the role `service` use everybody's.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence

from isthmus.control.errors import NotFound
from isthmus.networking.model import Network
from isthmus.networking.neutron.client import Neutron

SECURITY_GROUPS = "security-groups"
QOS_POLICIES = "qos/policies"
REMEMBERED_SECONDS = 60.0
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class NamedObjects:
    """Finds ids by names, of one kind in one project at a time. Safe to be used by several threads."""

    def __init__(self, neutron: Callable[[str | None], Neutron], clock: Callable[[], float] = time.monotonic) -> None:
        self._neutron = neutron
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[str | None, str, str], tuple[str, float]] = {}

    def id_of(self, kind: str, name_or_id: str, project: str | None) -> str:
        """Return an object's id; `NotFound`, `Conflict` if several have the name."""
        if _UUID.fullmatch(name_or_id):
            return name_or_id.lower()
        asked = (project, kind, name_or_id)
        with self._lock:
            found, until = self._known.get(asked, ("", 0.0))
        if self._clock() < until:
            return found
        found = str(self._neutron(project).find(kind, name_or_id)["id"])
        with self._lock:
            self._known[asked] = (found, self._clock() + REMEMBERED_SECONDS)
        return found


def subnet_ids(network: Network, names: Sequence[str]) -> tuple[str, ...]:
    """Return the ids of subnets of a network that are named by name, id or CIDR; `NotFound`."""
    found: list[str] = []
    for name in names:
        matching = [each.id for each in network.subnets if name in {each.id, each.name, str(each.cidr)}]
        if not matching:
            raise NotFound(f"network {network.name or network.id} has no subnet {name}; name one by id, name or CIDR")
        found += matching
    return tuple(found)
