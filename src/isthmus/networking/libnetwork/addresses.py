"""Addresses of a pool (RequestAddress, ReleaseAddress).

Docker asks for an address before the endpoint has an id, so a port is reserved under a key of its own, `address/…`,
and handed over to the endpoint in CreateEndpoint. A dual-stack port brings two addresses: the second is kept for
Docker's next request, which is for the same endpoint. In swarm the manager gives out addresses of containers on other
hosts: those are unbound ports in Neutron, named and tagged as Kuryr's, and this host keeps nothing of them.
"""

import logging
import threading
import time
import uuid

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.attaching.parts import InFlight
from isthmus.networking.libnetwork import names
from isthmus.networking.libnetwork.choosing import check_gateway, first_address
from isthmus.networking.libnetwork.messages import ReleaseAddress, RequestAddress
from isthmus.networking.libnetwork.options import EndpointOptions
from isthmus.networking.libnetwork.pool_ids import parse_pool_id
from isthmus.networking.libnetwork.pools import Pools
from isthmus.networking.libnetwork.records import NetworkRecord, PoolRecord, Records
from isthmus.networking.model import Attachment, IpAddress, Key, Owner, Port, Wish
from isthmus.networking.neutron.faults import AddressTaken
from isthmus.networking.neutron.time_left import within

log = logging.getLogger(__name__)

PREFIX = "address/"
_LATE_SECONDS = 300.0


def new_address_key() -> Key:
    """Return a key for a port that no endpoint has."""
    return Key(Owner.LIBNETWORK, f"{PREFIX}{uuid.uuid4()}")


def is_address_key(key: Key) -> bool:
    """Return whether a key is of a port that no endpoint has."""
    return key.id.startswith(PREFIX)


class Addresses:
    """Addresses given to Docker and not yet an endpoint's."""

    def __init__(self, agent: Agent, records: Records, pools: Pools) -> None:
        self._agent = agent
        self._records = records
        self._pools = pools
        self._companions: dict[tuple[str, IpAddress], Key] = {}
        self._released: set[tuple[str, IpAddress]] = set()
        """Second addresses of ports that were released by their first."""
        self._in_flight = InFlight()
        self._looked_for: dict[str, float] = {}
        self._lock = threading.Lock()

    def request(self, request: RequestAddress) -> str:
        """Answer RequestAddress with an address and its prefix length."""
        deadline = time.monotonic() + self._agent.conf.network_agent.attach_timeout
        with within(deadline):
            if request.for_gateway:
                return self._gateway(request)
            pool = self._pools.find(request.pool_id)
            if pool is None:
                return self._before_subnet(request)
        if parse_pool_id(request.pool_id).swarm:
            with within(deadline):
                address = self._in_swarm(pool, request.address)
        elif request.address is not None:
            self.reserve(pool, request.address, deadline)
            address = request.address
        else:
            address = self._companion(pool) or self._any(pool, deadline)
        return f"{address}/{pool.prefix_length}"

    def _gateway(self, request: RequestAddress) -> str:
        place = self._pools.look(request.pool_id)
        if place.subnet is None:
            return f"{request.address or first_address(place.cidr)}/{place.cidr.prefixlen}"
        check_gateway(place.subnet, request.address)
        if place.subnet.gateway is None:
            # Docker insists on an address; the unspecified one is what Kuryr answers.
            return "0.0.0.0/0" if place.cidr.version == 4 else "::/0"
        return f"{place.subnet.gateway}/{place.cidr.prefixlen}"

    def _before_subnet(self, request: RequestAddress) -> str:
        """Echo an auxiliary address: CreateNetwork keeps it out of the subnet that it makes."""
        place = self._pools.look(request.pool_id)
        if request.address is None:
            raise NotFound(f"pool {request.pool_id} has no subnet, as its network is gone; make the network again")
        if request.address not in place.cidr:
            raise InvalidInput(f"address {request.address} is not in {place.cidr}; choose one that is")
        return f"{request.address}/{place.cidr.prefixlen}"

    def _companion(self, pool: PoolRecord) -> IpAddress | None:
        """Return the other address of a port whose first one was given out just now."""
        with self._lock:
            for (subnet_id, address), key in list(self._companions.items()):
                if subnet_id == pool.subnet_id:
                    del self._companions[subnet_id, address]
                    if self._agent.attachments.find(key) is not None:
                        return address
        return None

    def _any(self, pool: PoolRecord, deadline: float) -> IpAddress:
        attachment = self._agent.attachments.reserve(self._wish(pool), deadline)
        return self._give(attachment, pool)

    def _give(self, attachment: Attachment, pool: PoolRecord) -> IpAddress:
        fixed = attachment.port.fixed_ips if attachment.port else ()
        address = next((each.address for each in fixed if each.subnet_id == pool.subnet_id), None)
        if address is None:
            self._agent.attachments.release(attachment.wish.key)
            raise Conflict(f"Neutron gave a port without an address of subnet {pool.subnet_id}; try again")
        self._note_companions(attachment, address)
        return address

    def _note_companions(self, attachment: Attachment, address: IpAddress) -> None:
        fixed = attachment.port.fixed_ips if attachment.port else ()
        with self._lock:
            # One request has one companion of a subnet: those of an endpoint that took no second address are stale.
            for other in fixed:
                if other.address != address:
                    for stale in [each for each in self._companions if each[0] == other.subnet_id]:
                        del self._companions[stale]
                    self._companions[other.subnet_id, other.address] = attachment.wish.key

    def reserve(self, pool: PoolRecord, address: IpAddress, deadline: float) -> Attachment:
        """Reserve a certain address, taking an existing port that nothing uses; `AddressTaken`."""
        held = self._agent.attachments.find_by_address(Owner.LIBNETWORK, pool.network_id, address)
        if held is not None:
            return self._held(held, pool, address)
        wish = self._wish(pool, (address,))
        attachment = reserve_or_adopt(self._agent, wish, pool.project, deadline)
        self._note_companions(attachment, address)
        return attachment

    def _held(self, held: Attachment, pool: PoolRecord, address: IpAddress) -> Attachment:
        with self._lock:
            companion = self._companions.pop((pool.subnet_id, address), None)
        if companion is None:
            raise AddressTaken(
                f"address {address} is already given to {held.wish.key.id} on this host; choose another, or none"
            )
        return held

    def _wish(self, pool: PoolRecord, addresses: tuple[IpAddress, ...] = ()) -> Wish:
        network = self._network_of(pool)
        defaults = network.endpoint if network else EndpointOptions()
        return Wish(
            key=new_address_key(),
            network_id=pool.network_id,
            project=pool.project,
            subnet_ids=_subnets_for(pool, network),
            addresses=addresses,
            security_groups=defaults.security_groups,
            qos_policy=defaults.qos_policy,
        )

    def _network_of(self, pool: PoolRecord) -> NetworkRecord | None:
        """Return the Docker network of a pool; of several on one Neutron network, the newest that has its subnet."""
        found = self._records.networks_on(pool.network_id)
        return next((each for each in found if not each.subnets or pool.subnet_id in each.subnets), None)

    def _in_swarm(self, pool: PoolRecord, address: IpAddress | None) -> IpAddress:
        fixed = {"subnet_id": pool.subnet_id, **({"ip_address": str(address)} if address else {})}
        with self._in_flight.creating() as tag:
            # Written before Neutron makes it: this host keeps nothing else of the port, and Docker knows it only when
            # it is told.
            self._records.begin_answer(tag, pool.project)
            port = self._agent.neutron(pool.project).create_port(
                network_id=pool.network_id, name=names.UNBOUND_PORT, fixed_ips=[fixed], tags=[names.PORT_OWNER, tag]
            )
            self._records.answered(tag)
        return port.fixed_ips[0].address

    def delete_untold(self) -> None:
        """Delete ports that were made for a swarm and whose address it was never told: the making was cut off."""
        for tag, project in self._records.unanswered().items():
            # One that ended meanwhile is told if it is not written down any more.
            if tag in self._in_flight.tags() or tag not in self._records.unanswered():
                continue
            neutron = self._agent.neutron(project)
            found = neutron.ports(tags=tag)
            for port in found:
                log.warning("deleting port %s, whose address Docker was never told", port.id)
                neutron.delete("ports", port.id)
            # Neutron may still be at one that it was too slow with.
            looked_for = time.monotonic() - self._looked_for.setdefault(tag, time.monotonic())
            if found or looked_for > _LATE_SECONDS:
                self._records.answered(tag)
                self._looked_for.pop(tag)

    def release(self, request: ReleaseAddress) -> None:
        """Answer ReleaseAddress: give the port back, unless an endpoint has it. Pool or address gone: success."""
        address = request.address
        try:
            pool = self._pools.find(request.pool_id)
        except NotFound:
            return
        if pool is None or address is None:
            return
        if parse_pool_id(request.pool_id).swarm:
            self._delete_reserved(pool, address)
            return
        held = self._agent.attachments.find_by_address(Owner.LIBNETWORK, pool.network_id, address)
        if held is not None and is_address_key(held.wish.key):
            self._agent.attachments.release(held.wish.key)
            others = held.port.fixed_ips if held.port else ()
            with self._lock:
                self._released.update((each.subnet_id, each.address) for each in others if each.address != address)
        with self._lock:
            self._companions.pop((pool.subnet_id, address), None)
            went_before = (pool.subnet_id, address) in self._released
            self._released.discard((pool.subnet_id, address))
        if held is None and not went_before:
            # An address that Kuryr gave out before the agent took its place.
            self._delete_reserved(pool, address)

    def _delete_reserved(self, pool: PoolRecord, address: IpAddress) -> None:
        neutron = self._agent.neutron(pool.project)
        for port in neutron.ports(network_id=pool.network_id, fixed_ips=f"ip_address={address}"):
            if names.PORT_OWNER in port.tags:
                neutron.delete("ports", port.id)


def _subnets_for(pool: PoolRecord, network: NetworkRecord | None) -> tuple[str, ...]:
    """Return from which subnets a port shall have addresses, so that a dual-stack one has both at once."""
    return network.subnets if network is not None else (pool.subnet_id,)


def reserve_or_adopt(agent: Agent, wish: Wish, project: str | None, deadline: float) -> Attachment:
    """Reserve what is wished; where an existing port has the address, take that port if nothing uses it."""
    try:
        return agent.attachments.reserve(wish, deadline)
    except Conflict as refusal:
        with within(deadline):
            port = _port_of(agent, wish, project)
        if port is None:
            raise
        if not _is_free(port):
            raise AddressTaken(
                f"address {wish.addresses[0]} is used by port {port.name or port.id} of "
                f"{port.device_owner or 'somebody'} on network {wish.network_id}; choose another, or none"
            ) from refusal
        return agent.attachments.reserve(_with_port(wish, port), deadline)


def _port_of(agent: Agent, wish: Wish, project: str | None) -> Port | None:
    for address in wish.addresses:
        found = agent.neutron(project).ports(network_id=wish.network_id, fixed_ips=f"ip_address={address}")
        if found:
            return found[0]
    return None


def _is_free(port: Port) -> bool:
    """Return whether a port may be taken: nothing has it, or it is one that swarm's manager or Kuryr reserved."""
    return (not port.device_id and not port.device_owner) or port.name == names.UNBOUND_PORT


def _with_port(wish: Wish, port: Port) -> Wish:
    return Wish(
        key=wish.key,
        network_id=wish.network_id,
        project=wish.project,
        addresses=wish.addresses,
        mac=wish.mac,
        security_groups=wish.security_groups,
        qos_policy=wish.qos_policy,
        port_id=port.id,
        label=wish.label,
    )
