"""The ids by which Docker knows our pools: they say on any host, after any crash, which pool is meant.

Kuryr's is the id of a Neutron subnet pool. So is ours where that says enough (the agent's first project, a pool of one
prefix, this host's scope); else it is `isthmus|project|kind|id|cidr|scope`.
"""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_network

from isthmus.control.errors import InvalidInput
from isthmus.networking.model import IpNetwork

_FOREIGN = "{} is no pool of this driver's; the network was made with another IPAM driver"


class Kind(StrEnum):
    """What the id is of."""

    POOL = "pool"
    SUBNET = "subnet"


@dataclass(frozen=True)
class PoolId:
    """A pool of Docker's. `project` None is not known; `cidr` None: the subnet pool's only prefix.

    `swarm`: its addresses are given out by swarm's manager, for containers on any host.
    """

    id: str
    kind: Kind = Kind.POOL
    project: str | None = None
    cidr: IpNetwork | None = None
    swarm: bool = False

    def __str__(self) -> str:
        if self.kind is Kind.POOL and not (self.project or self.cidr or self.swarm):
            return self.id
        scope = "swarm" if self.swarm else "host"
        return "|".join(("isthmus", self.project or "", self.kind, self.id, str(self.cidr or ""), scope))


def parse_pool_id(text: str) -> PoolId:
    """Return the pool that an id of ours or Kuryr's names; `InvalidInput`."""
    if "|" not in text:
        return PoolId(text)
    try:
        ours, project, kind, id_, cidr, scope = text.split("|")
        found = PoolId(id_, Kind(kind), project or None, ip_network(cidr) if cidr else None, scope == "swarm")
    except ValueError:
        raise InvalidInput(_FOREIGN.format(text)) from None
    if ours != "isthmus" or scope not in {"swarm", "host"} or not id_:
        raise InvalidInput(_FOREIGN.format(text))
    return found
