"""What an interface of a port is given, from the port and its network alone."""

from isthmus.networking.model import InterfaceConfiguration, IpAddress, Network, Port, Route, Subnet


def interface_configuration(port: Port, network: Network, *, default_route: bool = True) -> InterfaceConfiguration:
    """Return the configuration; gateways are one for each family at most, of the port's first subnet that has one.

    A host route to everywhere (0.0.0.0/0) is a gateway by another name and wins over the subnet's own, as with DHCP
    (RFC 3442).
    """
    subnets = {subnet.id: subnet for subnet in network.subnets}
    addresses: list[tuple[IpAddress, int]] = []
    gateways: dict[int, IpAddress] = {}
    routes: dict[Route, None] = {}
    for fixed in port.fixed_ips:
        subnet = subnets.get(fixed.subnet_id)
        if subnet is None:  # a subnet that the project may not see: the address alone still works on the link
            addresses.append((fixed.address, fixed.address.max_prefixlen))
            continue
        addresses.append((fixed.address, subnet.cidr.prefixlen))
        if default_route and (gateway := _gateway(subnet)) is not None:
            gateways.setdefault(fixed.address.version, gateway)
        for route in subnet.routes:
            if route.destination.prefixlen and route.next_hop != fixed.address:
                routes.setdefault(route)
    return InterfaceConfiguration(port.mac, network.mtu, tuple(addresses), tuple(gateways.values()), tuple(routes))


def _gateway(subnet: Subnet) -> IpAddress | None:
    for route in subnet.routes:
        if not route.destination.prefixlen and route.next_hop is not None:
            return route.next_hop
    return subnet.gateway
