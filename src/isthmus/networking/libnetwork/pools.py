"""Pools of addresses (RequestPool, ReleasePool): Neutron subnet pools, or subnets that exist."""

import logging
import random
import time
from dataclasses import dataclass
from ipaddress import ip_network

from isthmus.control.errors import Conflict, InvalidInput, NotAllowed, NotFound
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.attaching.locks import KeyLocks
from isthmus.networking.libnetwork import names
from isthmus.networking.libnetwork.choosing import free_block, only_prefix, only_subnet, refuse_overlap, within
from isthmus.networking.libnetwork.messages import Answer, RequestPool
from isthmus.networking.libnetwork.options import PoolOptions, pool_options
from isthmus.networking.libnetwork.pool_ids import Kind, PoolId, parse_pool_id
from isthmus.networking.libnetwork.projects import canonical, each_project
from isthmus.networking.libnetwork.records import PoolRecord, Records
from isthmus.networking.model import IpNetwork, Subnet, SubnetPool
from isthmus.networking.neutron.client import Neutron

log = logging.getLogger(__name__)

_TRIES = 8
_PAUSE = 0.5
"""Seconds, at most, before a block is chosen again that another host's agent has chosen too."""

LOCAL_SPACE = "isthmus_local"
SWARM_SPACE = "isthmus_swarm"

# Where no subnet pool called `kuryr` (`kuryr6`) says from what to choose a network's addresses.
_RANGES: dict[int, tuple[tuple[IpNetwork, ...], int]] = {
    4: ((ip_network("10.192.0.0/10"),), 24),
    6: ((ip_network("fd5d:15d4:6d75::/48"),), 64),
}


@dataclass(frozen=True)
class Place:
    """What a pool is by now: its CIDR, and its subnet once its network is made."""

    project: str | None
    cidr: IpNetwork
    subnet: Subnet | None


class Pools:
    """Pools of this host's Docker, and of swarm's."""

    def __init__(self, agent: Agent, records: Records) -> None:
        self._agent = agent
        self._records = records
        self._choosing = KeyLocks()

    def request(self, request: RequestPool) -> Answer:
        """Answer RequestPool. The same pool again is the same pool, as Docker asks again after a crash."""
        options = pool_options(request.options, ipv6=request.ipv6)
        project = canonical(self._agent, options.project)
        neutron = self._agent.neutron(project)
        swarm = request.address_space == SWARM_SPACE
        existing = self._existing_subnet(neutron, options, request)
        if existing is not None:
            _check_cidr(existing, request.pool)
            pool_id = PoolId(existing.id, Kind.SUBNET, project, existing.cidr, swarm)
            return _answer(pool_id, existing.cidr, existing)
        until = time.monotonic() + float(self._agent.conf.network_agent.attach_timeout)
        # What is chosen is seen by the next one only once it is made.
        with self._choosing.hold(f"the pools of project {neutron.project_id}", until):
            pool, cidr = self._subnet_pool(neutron, options, request)
        named = PoolId(pool.id, Kind.POOL, project, None if only_prefix(pool, cidr) else cidr, swarm)
        return _answer(named, cidr, None)

    def _existing_subnet(self, neutron: Neutron, options: PoolOptions, request: RequestPool) -> Subnet | None:
        if options.subnet:
            found = neutron.find("subnets", options.subnet)
            return neutron.subnets(id=found["id"])[0]
        if options.network:
            network = neutron.find_network(options.network)
            if request.pool is None:
                return only_subnet(network, 6 if request.ipv6 else 4)
            return next((each for each in network.subnets if each.cidr == request.pool), None)
        return None

    def _subnet_pool(
        self, neutron: Neutron, options: PoolOptions, request: RequestPool
    ) -> tuple[SubnetPool, IpNetwork]:
        if options.subnet_pool:
            pool = neutron.subnet_pools(id=neutron.find("subnetpools", options.subnet_pool)["id"])[0]
            return pool, self._of_named_pool(neutron, pool, request.pool)
        if request.pool is not None:
            return self._own_pool(neutron, options, request.pool, request.sub_pool), request.pool
        return self._any_pool(neutron, options, 6 if request.ipv6 else 4)

    def _any_pool(self, neutron: Neutron, options: PoolOptions, version: int) -> tuple[SubnetPool, IpNetwork]:
        """Return a new pool of a block that no other has. Another host's agent may choose the same one meanwhile."""
        for _ in range(_TRIES):
            cidr = self._any_block(neutron, version)
            pool = _make_pool(neutron, options, cidr, None)
            if len(neutron.subnet_pools(name=pool.name)) == 1:
                return pool, cidr
            # Whoever sees the other's yields: only one of the two may have seen it. Then one of them is sooner.
            neutron.delete("subnetpools", pool.id)
            time.sleep(random.uniform(0.0, _PAUSE))  # noqa: S311 - no secret
        raise Conflict("other hosts take each block of addresses that is chosen; try again, or give --subnet")

    def _of_named_pool(self, neutron: Neutron, pool: SubnetPool, wanted: IpNetwork | None) -> IpNetwork:
        if wanted is None:
            taken = [each.cidr for each in neutron.subnets(subnetpool_id=pool.id)]
            wanted = free_block(pool.prefixes, pool.default_prefix_length, taken)
            if wanted is None:
                raise Conflict(f"subnet pool {pool.name} ({pool.id}) has no prefix left; add one, or name another pool")
        elif not any(within(wanted, prefix) for prefix in pool.prefixes):
            has = ", ".join(map(str, pool.prefixes))
            raise InvalidInput(f"pool {wanted} is not in subnet pool {pool.name} ({pool.id}), which has {has}")
        if not pool.name.startswith(names.POOL_PREFIX):
            try:
                neutron.add_tag("subnetpools", pool.id, names.EXISTING_POOL)
            except (NotAllowed, NotFound):
                # Another project's shared pool is not ours to tag; its name says as much to ReleasePool.
                log.debug("subnet pool %s cannot be tagged by this project", pool.id)
        return wanted

    def _own_pool(
        self, neutron: Neutron, options: PoolOptions, cidr: IpNetwork, sub_pool: IpNetwork | None
    ) -> SubnetPool:
        """Return the pool Kuryr's name of this CIDR stands for, made now if there is none."""
        own = [each for each in neutron.subnet_pools() if each.name.startswith(names.POOL_PREFIX)]
        found = next((each for each in own if each.name == names.pool_name(cidr)), None)
        if found is not None:
            return found
        refuse_overlap(cidr, own)
        if sub_pool is not None and not within(sub_pool, cidr):
            raise InvalidInput(f"--ip-range {sub_pool} is not in --subnet {cidr}; choose a part of it")
        return _make_pool(neutron, options, cidr, sub_pool)

    def _any_block(self, neutron: Neutron, version: int) -> IpNetwork:
        pools = neutron.subnet_pools()
        ranges, length = _RANGES[version]
        default = next((each for each in pools if each.name == names.DEFAULT_POOLS[version]), None)
        if default is not None:
            ranges, length = default.prefixes, default.default_prefix_length
        taken = [prefix for each in pools if each.name.startswith(names.POOL_PREFIX) for prefix in each.prefixes]
        taken += [each.cidr for each in neutron.subnets()]
        found = free_block(ranges, length, taken)
        if found is None:
            raise Conflict(f"no /{length} is left in {', '.join(map(str, ranges))}; remove a network, or give --subnet")
        return found

    def release(self, pool_id: str) -> None:
        """Answer ReleasePool: delete what was made for the pool and nobody uses. Gone: success."""
        named = parse_pool_id(pool_id)
        self._records.forget_pool(pool_id)
        if named.kind is Kind.SUBNET:
            return
        for neutron in self._clients(named):
            for pool in neutron.subnet_pools(id=named.id):
                if is_own(pool):
                    delete_own_pool(neutron, pool)
                elif names.EXISTING_POOL in pool.tags and not neutron.subnets(subnetpool_id=pool.id):
                    neutron.remove_tag("subnetpools", pool.id, names.EXISTING_POOL)

    def find(self, pool_id: str) -> PoolRecord | None:
        """Return the subnet of a pool, from this host's records or Neutron; None before its network is made."""
        known = self._records.pool(pool_id)
        if known is not None:
            return known
        place = self.look(pool_id)
        if place.subnet is None:
            return None
        found = PoolRecord(
            pool_id, place.project, place.subnet.network_id, place.subnet.id, place.subnet.cidr.prefixlen
        )
        self._records.keep_pool(found)
        return found

    def look(self, pool_id: str) -> Place:
        """Return what Neutron says of a pool; `NotFound`."""
        named = parse_pool_id(pool_id)
        projects = [(named.project, self._agent.neutron(named.project))] if named.project else each_project(self._agent)
        for project, neutron in projects:
            if named.kind is Kind.SUBNET:
                found = neutron.subnets(id=named.id)
                if found:
                    return Place(project, found[0].cidr, found[0])
                continue
            cidr = named.cidr or next((each.prefixes[0] for each in neutron.subnet_pools(id=named.id)), None)
            if cidr is not None:
                return Place(project, cidr, _subnet_of(neutron, named.id, cidr))
        raise NotFound(
            f"Neutron has no {named.kind} {named.id}; the network's pool was deleted: make the network again"
        )

    def _clients(self, named: PoolId) -> list[Neutron]:
        if named.project is not None:
            return [self._agent.neutron(named.project)]
        return [neutron for _, neutron in each_project(self._agent)]


def _make_pool(neutron: Neutron, options: PoolOptions, cidr: IpNetwork, sub_pool: IpNetwork | None) -> SubnetPool:
    return neutron.create_subnet_pool(
        name=names.pool_name(cidr),
        prefixes=[str(cidr)],
        default_prefixlen=cidr.prefixlen,
        tags=[names.range_tag(sub_pool)] if sub_pool is not None else [],
        **({"shared": True} if options.shared else {}),
    )


def is_own(pool: SubnetPool) -> bool:
    """Return whether a pool was made for Docker's, by us or Kuryr."""
    return pool.name.startswith(names.POOL_PREFIX) and names.EXISTING_POOL not in pool.tags


def delete_own_pool(neutron: Neutron, pool: SubnetPool) -> None:
    """Delete a pool made for Docker's, unless subnets are cut from it. Docker releases a pool before its network."""
    if neutron.subnets(subnetpool_id=pool.id):
        log.info("subnet pool %s (%s) goes with its last network", pool.name, pool.id)
        return
    # A subnet that exists carries the pool's id as a tag while a Docker network uses it through this pool.
    for subnet in neutron.subnets(tags=pool.id):
        neutron.remove_tag("subnets", subnet.id, pool.id)
    try:
        neutron.delete("subnetpools", pool.id)
    except (Conflict, InvalidInput):
        # A network was made of it meanwhile. Neutron says 400 here.
        log.info("subnet pool %s (%s) is in use again", pool.name, pool.id)


def _subnet_of(neutron: Neutron, subnet_pool: str, cidr: IpNetwork) -> Subnet | None:
    """Return the subnet cut from a pool, else one that exists and is tagged with the pool's id."""
    for filters in ({"subnetpool_id": subnet_pool, "cidr": str(cidr)}, {"tags": subnet_pool, "cidr": str(cidr)}):
        found = neutron.subnets(**filters)
        if found:
            return found[0]
    return None


def _check_cidr(subnet: Subnet, wanted: IpNetwork | None) -> None:
    if wanted is not None and wanted != subnet.cidr:
        raise InvalidInput(
            f"subnet {subnet.name or subnet.id} is {subnet.cidr}, not {wanted}; give --subnet {subnet.cidr}"
        )


def _answer(pool_id: PoolId, cidr: IpNetwork, subnet: Subnet | None) -> Answer:
    data = {}
    if subnet is not None and subnet.gateway is not None:
        # Docker then asks for no gateway's address.
        data["com.docker.network.gateway"] = f"{subnet.gateway}/{cidr.prefixlen}"
    return {"PoolID": str(pool_id), "Pool": str(cidr), "Data": data}
