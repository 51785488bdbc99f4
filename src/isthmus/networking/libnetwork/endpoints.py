"""Endpoints (CreateEndpoint, Join, Leave, DeleteEndpoint, EndpointOperInfo)."""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from isthmus.control.errors import Conflict, NotFound
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.libnetwork import names
from isthmus.networking.libnetwork.addresses import is_address_key, new_address_key, reserve_or_adopt
from isthmus.networking.libnetwork.messages import Answer, CreateEndpoint, Interface, Join, OneEndpoint
from isthmus.networking.libnetwork.networks import Networks, resolve_options
from isthmus.networking.libnetwork.options import EndpointOptions, endpoint_options
from isthmus.networking.libnetwork.records import NetworkRecord
from isthmus.networking.model import Attachment, Key, Owner, Port, State, Subnet, Target, TargetKind, Wish
from isthmus.networking.neutron.faults import AddressTaken
from isthmus.networking.neutron.time_left import within

log = logging.getLogger(__name__)

INTERFACE_PREFIX = "eth"

_VIA, _ON_LINK = 0, 1


def endpoint_key(endpoint_id: str) -> Key:
    """Return the key of an endpoint's attachment."""
    return Key(Owner.LIBNETWORK, endpoint_id)


class Endpoints:
    """Docker's endpoints of this driver."""

    def __init__(self, agent: Agent, networks: Networks) -> None:
        self._agent = agent
        self._networks = networks

    def create(self, request: CreateEndpoint) -> Answer:
        """Give the endpoint its port. Done already: the same answer."""
        deadline = self._deadline()
        with within(deadline):
            record = self._networks.find(request.network_id)
            options = self._options(record, request)
        wish = Wish(
            key=endpoint_key(request.endpoint_id),
            network_id=record.network_id,
            project=record.project,
            addresses=request.interface.addresses,
            mac=request.interface.mac_address.lower() or None,
            security_groups=options.security_groups,
            qos_policy=options.qos_policy,
            label=names.endpoint_label(request.endpoint_id),
        )
        attachment = self._attach(wish, deadline)
        return {"Interface": _supplied(_port(attachment), attachment, request.interface)}

    def _options(self, record: NetworkRecord, request: CreateEndpoint) -> EndpointOptions:
        own = resolve_options(self._agent.neutron(record.project), endpoint_options(request.options))
        return EndpointOptions(
            security_groups=record.endpoint.security_groups if own.security_groups is None else own.security_groups,
            qos_policy=own.qos_policy or record.endpoint.qos_policy,
            expose=record.endpoint.expose if own.expose is None else own.expose,
        )

    def _attach(self, wish: Wish, deadline: float) -> Attachment:
        attachments = self._agent.attachments
        if attachments.find(wish.key) is not None:
            return attachments.reserve(wish, deadline)
        held = [attachments.find_by_address(Owner.LIBNETWORK, wish.network_id, each) for each in wish.addresses]
        keys = list(dict.fromkeys(each.wish.key for each in held if each is not None))
        for key in keys:
            if not is_address_key(key):
                raise AddressTaken(
                    f"endpoint {key.id} has an address that endpoint {wish.key.id} wants; let it go first"
                )
        first = next((each for each in held if each is not None), None)
        if first is not None and wish.mac and wish.mac != _port(first).mac:
            # Neutron lets a project's members choose a port's MAC address, and not change it.
            for key in keys:
                attachments.release(key, deadline)
            first = None
        if first is None:
            return reserve_or_adopt(self._agent, wish, wish.project, deadline)
        return attachments.hand_over(keys[0], _as_held(wish, first), keys[1] if len(keys) > 1 else None, deadline)

    def join(self, request: Join) -> Answer:
        """Plug the port; Docker moves the interface into the sandbox. Done already: the same answer."""
        record = self._networks.find(request.network_id)
        key = endpoint_key(request.endpoint_id)
        target = Target(TargetKind.ENGINE, netns=request.sandbox_key or None)
        attachment = self._agent.attachments.plug(key, target, self._deadline())
        if attachment.near_interface is None:
            raise Conflict(f"endpoint {request.endpoint_id} was taken away while it joined; start the container again")
        answer: Answer = {
            "InterfaceName": {"SrcName": attachment.near_interface, "DstPrefix": INTERFACE_PREFIX},
            "StaticRoutes": _routes(_subnets(attachment)),
            # Else a container on a network without a gateway gets a bridge of Docker's beside its tenant's network.
            "DisableGatewayService": True,
        }
        if not record.internal:
            answer |= _gateways(_subnets(attachment))
        return answer

    def leave(self, request: OneEndpoint) -> None:
        """Do nothing: Docker still has to move the interface back, and it may join again. DeleteEndpoint unplugs."""
        del request

    def delete(self, request: OneEndpoint) -> None:
        """Unplug. A port whose address was asked of us waits for ReleaseAddress. Gone: success."""
        key = endpoint_key(request.endpoint_id)
        attachment = self._agent.attachments.find(key)
        if attachment is None:
            return
        deadline = self._deadline()
        record = self._record(request.network_id)
        if record is None or not record.own_ipam:
            self._agent.attachments.release(key, deadline)
            return
        # Given back at once, another container could have the address before Docker's ReleaseAddress, which would
        # then take it away from that one.
        self._agent.attachments.unplug(key, deadline)
        wish = replace(attachment.wish, key=new_address_key(), label=None, subnet_ids=record.subnets)
        try:
            self._agent.attachments.hand_over(key, wish, None, deadline)
        except NotFound:
            log.info("endpoint %s was released meanwhile", request.endpoint_id)

    def _record(self, docker_id: str) -> NetworkRecord | None:
        try:
            return self._networks.find(docker_id)
        except NotFound:
            return None

    def info(self, request: OneEndpoint) -> Answer:
        """Return what `docker network inspect` shows; from memory, as Docker asks at each start of a container."""
        attachment = self._agent.attachments.find(endpoint_key(request.endpoint_id))
        if attachment is None:
            raise NotFound(f"endpoint {request.endpoint_id} has no port here; it was deleted, or made on another host")
        port = _port(attachment)
        servers = [str(each) for subnet in _subnets(attachment) for each in subnet.name_servers]
        value: dict[str, Any] = {
            "status": "ACTIVE" if attachment.state is State.PLUGGED else "DOWN",
            "isthmus.port": port.id,
            "isthmus.network": port.network_id,
            "isthmus.mac": port.mac,
            "isthmus.dns": ",".join(servers),
        }
        if attachment.problem:
            value["isthmus.problem"] = attachment.problem
        return {"Value": value}

    def _deadline(self) -> float:
        return time.monotonic() + float(self._agent.conf.network_agent.attach_timeout)


def _port(attachment: Attachment) -> Port:
    if attachment.port is None:
        raise Conflict(f"endpoint {attachment.wish.key.id} has no port yet; try again")
    return attachment.port


def _subnets(attachment: Attachment) -> tuple[Subnet, ...]:
    """Return the subnets that the port has addresses of and Docker knows, IPv4 first."""
    known = attachment.network.subnets if attachment.network else ()
    told = attachment.wish.subnet_ids
    fixed = {each.subnet_id for each in _port(attachment).fixed_ips}
    found = [each for each in known if each.id in fixed and (not told or each.id in told)]
    return tuple(sorted(found, key=lambda each: each.cidr.version))


def _as_held(wish: Wish, held: Attachment) -> Wish:
    """Return the wish of an endpoint whose addresses were given out before.

    It demands no address that the port has by chance, so that the port can be warm again afterwards; `subnet_ids` are
    those that Docker knows addresses of.
    """
    fixed = {each.address: each.subnet_id for each in _port(held).fixed_ips}
    if not set(wish.addresses) <= fixed.keys():
        return wish
    told = tuple(fixed[each] for each in wish.addresses)
    return replace(wish, addresses=held.wish.addresses, subnet_ids=told)


def _supplied(port: Port, attachment: Attachment, given: Interface) -> Answer:
    """Return what the engine left to us; repeating what it gave is an error in the protocol."""
    answer: Answer = {} if given.mac_address else {"MacAddress": port.mac}
    if given.addresses:
        return answer
    lengths = {each.id: each.cidr.prefixlen for each in attachment.network.subnets} if attachment.network else {}
    for fixed in port.fixed_ips:
        name = "Address" if fixed.address.version == 4 else "AddressIPv6"
        if fixed.subnet_id in lengths and name not in answer:
            answer[name] = f"{fixed.address}/{lengths[fixed.subnet_id]}"
    return answer


def _gateways(subnets: Sequence[Subnet]) -> Answer:
    answer: Answer = {}
    for subnet in subnets:
        if subnet.gateway is not None:
            answer["Gateway" if subnet.cidr.version == 4 else "GatewayIPv6"] = str(subnet.gateway)
    return answer


def _routes(subnets: Sequence[Subnet]) -> list[Answer]:
    routes: list[Answer] = []
    for route in (each for subnet in subnets for each in subnet.routes):
        if route.next_hop is None:
            routes.append({"Destination": str(route.destination), "RouteType": _ON_LINK})
        else:
            routes.append({"Destination": str(route.destination), "RouteType": _VIA, "NextHop": str(route.next_hop)})
    return routes
