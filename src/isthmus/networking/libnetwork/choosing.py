"""Pure: which addresses a network of Docker's gets, and what does not fit."""

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Network
from itertools import pairwise

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.networking.libnetwork.messages import IpamData
from isthmus.networking.model import IpAddress, IpNetwork, Network, Subnet, SubnetPool


def overlap(one: IpNetwork, other: IpNetwork) -> bool:
    """Return whether two networks share an address; those of two families never do."""
    return one.version == other.version and one.overlaps(other)


def within(part: IpNetwork, whole: IpNetwork) -> bool:
    """Return whether a network lies in another."""
    return part.version == whole.version and part.subnet_of(whole)  # type: ignore[arg-type]


def free_block(prefixes: Sequence[IpNetwork], length: int, taken: Iterable[IpNetwork]) -> IpNetwork | None:
    """Return the first network of a prefix length in `prefixes` that overlaps none of `taken`."""
    busy = tuple(taken)
    for prefix in prefixes:
        wanted = max(length, prefix.prefixlen)
        size = 1 << (prefix.max_prefixlen - wanted)
        start, end = int(prefix.network_address), int(prefix.broadcast_address)
        while start <= end:
            block = type(prefix)((start, wanted))
            obstacle = next((each for each in busy if overlap(block, each)), None)
            if obstacle is None:
                return block
            # Go on behind the obstacle, at a multiple of the size.
            start = (max(int(obstacle.broadcast_address), start) // size + 1) * size
    return None


def refuse_overlap(wanted: IpNetwork, pools: Iterable[SubnetPool]) -> None:
    """Return if no pool of another CIDR overlaps; that of the same one is shared, as in Kuryr."""
    for pool in pools:
        for prefix in pool.prefixes:
            if prefix != wanted and overlap(prefix, wanted):
                raise Conflict(
                    f"pool {wanted} overlaps {prefix} of subnet pool {pool.name} ({pool.id}) in this project; choose "
                    f"another --subnet, or name a subnet pool by --ipam-opt neutron.pool.uuid"
                )


def only_prefix(pool: SubnetPool, cidr: IpNetwork) -> bool:
    """Return whether the pool says by itself which subnet is meant."""
    return pool.prefixes == (cidr,)


def subnet_of_cidr(network: Network, cidr: IpNetwork) -> Subnet | None:
    """Return the network's subnet of a CIDR."""
    return next((each for each in network.subnets if each.cidr == cidr), None)


def only_subnet(network: Network, version: int) -> Subnet:
    """Return the network's one subnet of a family; `InvalidInput` for none or several."""
    found = [each for each in network.subnets if each.cidr.version == version]
    if len(found) == 1:
        return found[0]
    has = f"{len(found)} IPv{version} subnets" if found else f"no IPv{version} subnet"
    raise InvalidInput(f"network {network.name or network.id} has {has}; give --subnet with a CIDR")


def part_of(own: Sequence[Subnet], all_subnets: Iterable[Subnet]) -> tuple[str, ...]:
    """Return the ids of a Docker network's first subnet of each family; none if the network has no others."""
    firsts: dict[int, str] = {}
    for each in own:
        firsts.setdefault(each.cidr.version, each.id)
    others = {each.id for each in [*own, *all_subnets]} - set(firsts.values())
    return tuple(firsts.values()) if others else ()


def check_gateway(subnet: Subnet, wanted: IpAddress | None) -> None:
    """Return if an existing subnet's gateway is the wanted one; unspecified (0.0.0.0) wants none in particular."""
    if wanted is None or wanted.is_unspecified or wanted == subnet.gateway:
        return
    has = f"its gateway is {subnet.gateway}; leave --gateway out" if subnet.gateway else "it has no gateway"
    raise InvalidInput(f"gateway {wanted} does not fit subnet {subnet.name or subnet.id} ({subnet.cidr}): {has}")


def check_mtu(network: Network, wanted: int | None) -> None:
    """Return if an existing network carries packets of the wanted size, in bytes."""
    if wanted is not None and wanted > network.mtu:
        raise InvalidInput(
            f"MTU {wanted} is too large: network {network.name or network.id} carries {network.mtu} bytes; give at "
            "most that, or leave the option out"
        )


def first_address(cidr: IpNetwork) -> IpAddress:
    """Return the address that a gateway gets where nobody says: the first that a host can have."""
    return cidr.network_address + (1 if cidr.num_addresses > 2 else 0)


def allocation_pools(
    cidr: IpNetwork, sub_pool: IpNetwork | None, reserved: Iterable[IpAddress]
) -> list[dict[str, str]] | None:
    """Return Neutron's `allocation_pools`: the part `--ip-range` names, without the reserved addresses.

    None where Neutron's own choice is right.
    """
    outside = sorted({int(each) for each in reserved if each in cidr})
    if sub_pool is None and not outside:
        return None
    part = sub_pool or cidr
    # The network's own address and (IPv4) its broadcast are no host's; Neutron refuses a pool that holds them.
    edges = {int(cidr.network_address)} | (set() if isinstance(cidr, IPv6Network) else {int(cidr.broadcast_address)})
    first, last = int(part.network_address), int(part.broadcast_address)
    holes = sorted({first - 1, last + 1} | {each for each in edges | set(outside) if first <= each <= last})
    make = type(cidr.network_address)
    return [
        {"start": str(make(before + 1)), "end": str(make(after - 1))}
        for before, after in pairwise(holes)
        if after - before > 1
    ]


def reserved_addresses(data: IpamData, gateway: IpAddress | None) -> tuple[IpAddress, ...]:
    """Return the addresses of a pool that no container may get."""
    found = [gateway, *data.aux_addresses.values()]
    return tuple(each for each in found if each is not None and not each.is_unspecified)
