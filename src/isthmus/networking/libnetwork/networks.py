"""Docker networks (CreateNetwork, DeleteNetwork, and AllocateNetwork, FreeNetwork of swarm's manager)."""

import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

from isthmus.control.errors import Conflict, InvalidInput, NotAllowed, NotFound
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.libnetwork import names
from isthmus.networking.libnetwork.choosing import (
    allocation_pools,
    check_gateway,
    check_mtu,
    first_address,
    only_subnet,
    part_of,
    reserved_addresses,
    subnet_of_cidr,
)
from isthmus.networking.libnetwork.messages import CreateNetwork, IpamData
from isthmus.networking.libnetwork.options import EndpointOptions, NetworkOptions, network_options
from isthmus.networking.libnetwork.pools import delete_own_pool, is_own
from isthmus.networking.libnetwork.projects import canonical, find_in_projects
from isthmus.networking.libnetwork.records import How, NetworkRecord, Progress, Records
from isthmus.networking.model import Key, Network, Owner, Subnet, SubnetPool
from isthmus.networking.neutron.client import Neutron

log = logging.getLogger(__name__)

AUXILIARY_PREFIX = "auxiliary/"

_OTHER_IPAM = frozenset({"LocalDefault", "GlobalDefault", "null"})


class Networks:
    """Docker's networks of this driver."""

    def __init__(self, agent: Agent, records: Records) -> None:
        self._agent = agent
        self._records = records
        self._lock = threading.RLock()
        """Making and deleting networks is rare, and one at a time."""

    def create(self, request: CreateNetwork, *, for_swarm: bool = False) -> None:
        """Make a Neutron network, or adopt one, with the subnets Docker names. Made already: success."""
        options = network_options(request.options)
        project = canonical(self._agent, options.project)
        neutron = self._agent.neutron(project)
        endpoint = resolve_options(neutron, options.endpoint)
        docker_id = request.network_id
        with self._lock, ExitStack() as undo:
            self._records.begin_network(docker_id, project)
            undo.callback(self._records.forget_network, docker_id)
            network, how = self._find_or_make(neutron, options, docker_id, undo, for_swarm=for_swarm)
            record = NetworkRecord(
                docker_id=docker_id,
                project=project,
                network_id=network.id,
                state=Progress.MAKING,
                how=how,
                internal=options.internal,
                own_ipam=not any(each.address_space in _OTHER_IPAM for each in [*request.ipv4, *request.ipv6]),
                endpoint=endpoint,
            )
            self._records.keep_network(record)
            own, changed = self._subnets(neutron, network, options, request, undo)
            self._keep_auxiliary(record, request)
            part = part_of(own, network.subnets)
            self._records.keep_network(replace(record, state=Progress.READY, subnets=part))
            undo.pop_all()
        if changed:
            self._agent.attachments.forget_network(network.id, project)
        if not for_swarm:
            self._agent.attachments.warm_up(network.id, project)

    def _find_or_make(
        self, neutron: Neutron, options: NetworkOptions, docker_id: str, undo: ExitStack, *, for_swarm: bool
    ) -> tuple[Network, How]:
        tagged = neutron.networks(tags=",".join(sorted(names.id_tags(docker_id))))
        if tagged:
            # Another try, another node of the swarm, or Kuryr made it.
            return tagged[0], how_of(tagged[0], docker_id)
        if options.network is not None:
            network = neutron.find_network(options.network)
            check_mtu(network, options.mtu)
            if options.shared is not None and options.shared != network.shared:
                is_shared = "shared" if network.shared else "not shared"
                raise InvalidInput(f"network {network.name or network.id} is {is_shared}; leave neutron.net.shared out")
            self._tag_existing(neutron, network, docker_id, undo)
            return network, How.ADOPTED
        tags = names.id_tags(docker_id) | ({names.SWARM} if for_swarm else set())
        body: dict[str, Any] = {"name": names.network_name(docker_id), "tags": tags}
        if options.mtu is not None:
            body["mtu"] = options.mtu
        if options.shared:
            body["shared"] = True
        network = neutron.create_network(**body)
        undo.callback(neutron.delete, "networks", network.id)
        return network, How.SWARM if for_swarm else How.MADE

    def _tag_existing(self, neutron: Neutron, network: Network, docker_id: str, undo: ExitStack) -> None:
        tags = names.id_tags(docker_id) | {names.existing_tag(docker_id)}
        undo.callback(_untag, neutron, network.id, docker_id)
        try:
            for tag in sorted(tags):
                neutron.add_tag("networks", network.id, tag)
        except (NotAllowed, NotFound):
            # A network that another project shares is not ours to tag; this host's record says the same.
            log.info("network %s belongs to another project, and stays without Docker's tags", network.id)

    def _subnets(
        self, neutron: Neutron, network: Network, options: NetworkOptions, request: CreateNetwork, undo: ExitStack
    ) -> tuple[list[Subnet], bool]:
        """Give the network the subnets it lacks; return all of Docker's, and whether it lacked any."""
        own: list[Subnet] = []
        changed = False
        for data, pool_option, subnet_option in (
            *((each, options.subnet_pool, options.subnet) for each in request.ipv4),
            *((each, options.subnet_pool_v6, options.subnet_v6) for each in request.ipv6),
        ):
            subnet = _existing(neutron, network, data, subnet_option)
            if subnet is None:
                subnet = self._make_subnet(neutron, network, data, pool_option, names.made_tag(request.network_id))
                undo.callback(neutron.delete, "subnets", subnet.id)
                changed = True
            else:
                check_gateway(subnet, data.gateway)
                _tag_with_pool(neutron, subnet)
                _share(neutron, subnet, names.made_tag(request.network_id), undo)
            own.append(subnet)
        if not request.ipv4 and not request.ipv6 and not network.subnets:
            raise InvalidInput(f"network {network.name or network.id} has no subnet; give --subnet with a CIDR")
        return own, changed

    def _keep_auxiliary(self, record: NetworkRecord, request: CreateNetwork) -> None:
        """Keep the ports that hold `--aux-address` addresses of an existing subnet as long as Docker's network."""
        for data in [*request.ipv4, *request.ipv6]:
            for address in data.aux_addresses.values():
                if address is None:
                    continue
                attachments = self._agent.attachments
                held = attachments.find_by_address(Owner.LIBNETWORK, record.network_id, address)
                if held is not None:
                    key = Key(Owner.LIBNETWORK, f"{AUXILIARY_PREFIX}{record.docker_id}/{address}")
                    attachments.hand_over(held.wish.key, replace(held.wish, key=key))

    def _make_subnet(
        self, neutron: Neutron, network: Network, data: IpamData, pool_option: str | None, made_tag: str
    ) -> Subnet:
        cidr = data.pool
        if cidr is None:
            raise InvalidInput("Docker gave no pool for a family of this network; give --subnet with a CIDR")
        pool = _pool_of(neutron, cidr, pool_option)
        if pool is not None:
            self._refuse_used_pool(neutron, pool, network, cidr)
        sub_range = names.range_of(pool.tags) if pool else None
        gateway = data.gateway if data.gateway is None or not data.gateway.is_unspecified else None
        gateway = gateway or first_address(cidr)
        pools = allocation_pools(cidr, ip_network(sub_range) if sub_range else None, reserved_addresses(data, gateway))
        only_gateway = sub_range is None and not data.aux_addresses
        body: dict[str, Any] = {
            "network_id": network.id,
            "name": names.subnet_name(cidr),
            "ip_version": cidr.version,
            "cidr": str(cidr),
            "gateway_ip": str(gateway),
            # Virtual machines on the network need it; a container's address comes from Docker.
            "enable_dhcp": True,
            **({} if only_gateway else {"allocation_pools": pools}),
            **({"subnetpool_id": pool.id, "tags": [pool.id, made_tag]} if pool else {"tags": [made_tag]}),
        }
        return neutron.create_subnet(**body)

    def _refuse_used_pool(self, neutron: Neutron, pool: SubnetPool, network: Network, cidr: object) -> None:
        for each in neutron.subnets(subnetpool_id=pool.id, cidr=str(cidr)):
            if each.network_id != network.id:
                raise Conflict(
                    f"pool {cidr} overlaps subnet {each.name or each.id} of network {each.network_id}, which is of the "
                    f"same subnet pool {pool.name}; choose another --subnet, or use that network by -o neutron.net.uuid"
                )

    def delete(self, docker_id: str) -> None:
        """Delete the Neutron network, or let an adopted one be. Gone: success; `Conflict` while it has ports."""
        self._delete(docker_id, also_swarm=False)

    def free(self, docker_id: str) -> None:
        """Delete the network that swarm's manager allocated. Gone: success."""
        self._delete(docker_id, also_swarm=True)

    def _delete(self, docker_id: str, *, also_swarm: bool) -> None:
        with self._lock:
            self._agent.attachments.keep_only(Owner.LIBNETWORK, f"{AUXILIARY_PREFIX}{docker_id}/", ())
            project, found = self._look(docker_id)
            record = self._records.network(docker_id)
            if record is None and found:
                record = NetworkRecord(docker_id, project, found[0].id, Progress.READY, how_of(found[0], docker_id))
            if record is not None and record.how is How.SWARM and record.state is Progress.DELETING:
                # The manager's own deletion failed before; the node's on the same host must not forget that.
                also_swarm = True
            if record is not None and (record.how is not How.SWARM or also_swarm):
                # Docker forgets the network whatever we answer: what fails now is tried again.
                self._records.keep_network(replace(record, state=Progress.DELETING))
            for network in found:
                neutron = self._agent.neutron(project)
                how = record.how if record and record.how is How.ADOPTED else how_of(network, docker_id)
                if how is How.ADOPTED:
                    self._let_be(neutron, network, docker_id)
                elif how is How.MADE or also_swarm:
                    self._delete_network(neutron, network.id, project)
                    _delete_pools(neutron, network.subnets)
                else:
                    # Swarm's manager deletes it, and meets no warm ports of a node that has no container there.
                    self._agent.attachments.cool_down(network.id)
                self._records.forget_pools_of(network.id)
            self._records.forget_network(docker_id)

    def _delete_network(self, neutron: Neutron, network_id: str, project: str | None) -> None:
        for again in (True, True, False):
            self._agent.attachments.empty_network(network_id, project)
            try:
                neutron.delete("networks", network_id)
                break
            except Conflict:
                # Warm ports may have been on their way.
                if not again:
                    raise

    def _look(self, docker_id: str) -> tuple[str | None, tuple[Network, ...]]:
        record = self._records.network(docker_id)
        if record is not None and record.network_id:
            return record.project, self._agent.neutron(record.project).networks(id=record.network_id)
        return self._tagged(docker_id)

    def _tagged(self, docker_id: str) -> tuple[str | None, tuple[Network, ...]]:
        tags = ",".join(sorted(names.id_tags(docker_id)))
        return find_in_projects(self._agent, lambda neutron: neutron.networks(tags=tags))

    def _let_be(self, neutron: Neutron, network: Network, docker_id: str) -> None:
        _untag(neutron, network.id, docker_id)
        # At once: they hold addresses of subnets that go now, or with the last Docker network of another host.
        self._agent.attachments.forget_network(network.id, self._project_of(docker_id))
        own = names.made_tag(docker_id)
        for subnet in neutron.subnets(network_id=network.id, tags=own):
            neutron.remove_tag("subnets", subnet.id, own)
            if names.made_tags(subnet.tags) - {own}:
                log.info("subnet %s of network %s is another Docker network's too, and kept", subnet.id, network.id)
                continue
            try:
                neutron.delete("subnets", subnet.id)
                _delete_pools(neutron, (subnet,))
            except Conflict:
                log.info("subnet %s of network %s is still used, and kept", subnet.id, network.id)

    def _project_of(self, docker_id: str) -> str | None:
        record = self._records.network(docker_id)
        return record.project if record else None

    def find(self, docker_id: str) -> NetworkRecord:
        """Return what is known of Docker's network, asking Neutron where this host has no record; `NotFound`."""
        record = self._records.network(docker_id)
        if record is not None and record.state is Progress.READY:
            return record
        if record is not None and record.state is Progress.DELETING:
            raise NotFound(f"Docker's network {docker_id} is being deleted; make another")
        project, found = self._tagged(docker_id)
        if not found:
            raise NotFound(
                f"no Neutron network belongs to Docker's network {docker_id}; remove that network and make it again"
            )
        record = NetworkRecord(docker_id, project, found[0].id, Progress.READY, how_of(found[0], docker_id))
        self._records.keep_network(record)
        return record

    def being(self, state: Progress) -> list[str]:
        """Return Docker's ids of the networks that are being made, or deleted."""
        return [each.docker_id for each in self._records.networks() if each.state is state]

    def finish(self, docker_id: str) -> None:
        """Delete a network whose making a crash cut off (Docker was told it failed), or whose deletion failed."""
        with self._lock:
            record = self._records.network(docker_id)
            if record is not None and record.state is not Progress.READY:
                self._delete(docker_id, also_swarm=record.how is How.SWARM and record.state is Progress.DELETING)

    def all_gateways_missing(self, request_options: dict[str, Any], version: int) -> bool:
        """Return whether an existing network is named that has no gateway in a family: the engine need ask for none."""
        options = network_options(request_options)
        if options.network is None:
            return False
        network = self._agent.neutron(canonical(self._agent, options.project)).find_network(options.network)
        family = [each for each in network.subnets if each.cidr.version == version]
        return bool(family) and all(each.gateway is None for each in family)


def how_of(network: Network, docker_id: str) -> How:
    """Return how a tagged network came to be."""
    if names.is_adopted(network.tags, docker_id):
        return How.ADOPTED
    return How.SWARM if names.SWARM in network.tags else How.MADE


def resolve_options(neutron: Neutron, options: EndpointOptions) -> EndpointOptions:
    """Return the options with ids for the names of security groups and the QoS policy; `NotFound`, `Conflict`."""
    groups = options.security_groups
    policy = options.qos_policy
    return replace(
        options,
        security_groups=None
        if groups is None
        else tuple(neutron.find("security-groups", each)["id"] for each in groups),
        qos_policy=None if policy is None else str(neutron.find("qos/policies", policy)["id"]),
    )


def _existing(neutron: Neutron, network: Network, data: IpamData, option: str | None) -> Subnet | None:
    if option is not None:
        found = neutron.find("subnets", option)
        subnet = next((each for each in network.subnets if each.id == found["id"]), None)
        if subnet is None:
            raise InvalidInput(f"subnet {option} is not of network {network.name or network.id}; name one that is")
        if data.pool is not None and data.pool.prefixlen and data.pool != subnet.cidr:
            raise InvalidInput(f"subnet {option} is {subnet.cidr}, not {data.pool}; give --subnet {subnet.cidr}")
        return subnet
    if data.pool is None or data.pool.prefixlen == 0:
        # The null IPAM driver: addresses are Neutron's to choose.
        return only_subnet(network, 6 if data.pool is not None and data.pool.version == 6 else 4)
    return subnet_of_cidr(network, data.pool)


def _pool_of(neutron: Neutron, cidr: object, option: str | None) -> SubnetPool | None:
    """Return the pool to cut a subnet from: the named one, else Kuryr's of this CIDR; none of another IPAM driver's."""
    if option is not None:
        return neutron.subnet_pools(id=neutron.find("subnetpools", option)["id"])[0]
    return next(iter(neutron.subnet_pools(name=f"{names.POOL_PREFIX}{cidr}")), None)


def _delete_pools(neutron: Neutron, subnets: Sequence[Subnet]) -> None:
    """Delete the pools that were made for subnets which are gone."""
    for pool_id in sorted({each.pool_id for each in subnets if each.pool_id}):
        for pool in filter(is_own, neutron.subnet_pools(id=pool_id)):
            delete_own_pool(neutron, pool)


def _tag_with_pool(neutron: Neutron, subnet: Subnet) -> None:
    """Have an existing subnet found by the pool that RequestPool made of its CIDR, as Kuryr does."""
    pool = _pool_of(neutron, subnet.cidr, None)
    if pool is None or subnet.pool_id == pool.id or pool.id in subnet.tags:
        return
    try:
        neutron.add_tag("subnets", subnet.id, pool.id)
    except (NotAllowed, NotFound):
        raise InvalidInput(
            f"subnet {subnet.id} belongs to another project, so Docker's pool cannot be tied to it; name it to the "
            f"IPAM driver: --ipam-opt neutron.subnet.uuid={subnet.id}"
        ) from None


def _share(neutron: Neutron, subnet: Subnet, own: str, undo: ExitStack) -> None:
    """Have a subnet that another Docker network made kept until this one is deleted too."""
    if not names.made_tags(subnet.tags) or own in subnet.tags:
        return
    try:
        neutron.add_tag("subnets", subnet.id, own)
        undo.callback(neutron.remove_tag, "subnets", subnet.id, own)
    except (NotAllowed, NotFound):
        log.info("subnet %s belongs to another project, and stays without Docker's tag", subnet.id)


def _untag(neutron: Neutron, network_id: str, docker_id: str) -> None:
    for tag in sorted(names.id_tags(docker_id) | {names.existing_tag(docker_id)}):
        try:
            neutron.remove_tag("networks", network_id, tag)
        except NotAllowed:
            return
