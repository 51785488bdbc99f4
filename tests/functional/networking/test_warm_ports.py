"""Warm ports are in nobody's way: not of who demands what one holds, of a new subnet, or of who deletes their group."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from lab.network_host import wait_for
from openstack.exceptions import ConflictException
from tests.network_ports import LONG, Ports, made_network, place


@pytest.fixture
def network(demo: Any, administrator: Any) -> Iterator[Any]:
    with made_network(demo, administrator, "10.65.0.0/24") as made:
        yield made


def warm(administrator: Any, network: Any) -> list[Any]:
    return [port for port in administrator.ports(network_id=network.id) if port.name == "isthmus-warm"]


def wait_warm(administrator: Any, network: Any) -> list[Any]:
    wait_for("warm ports are there", lambda: warm(administrator, network), LONG)
    return warm(administrator, network)


def test_an_address_and_a_mac_that_warm_ports_hold_are_given_to_who_demands_them(
    ports: Ports, administrator: Any, network: Any, space: str
) -> None:
    ports("attach", network.id, *place(space))
    ports("detach", *place(space))
    one, other = wait_warm(administrator, network)[:2]
    address, mac = one.fixed_ips[0]["ip_address"], other.mac_address
    # The address of one and the MAC of another, so that no port has both.
    port = ports("attach", network.id, *place(space), "--address", address, "--mac", mac)["port"]
    assert (port["addresses"], port["mac"]) == ([f"{address}/24"], mac)
    assert ports.problems(space) == []


def test_a_subnet_of_a_new_family_is_on_the_next_port(
    ports: Ports, demo: Any, administrator: Any, network: Any, space: str
) -> None:
    ports("attach", network.id, *place(space))
    ports("detach", *place(space))
    old = {port.id for port in wait_warm(administrator, network)}
    demo.create_subnet(network_id=network.id, cidr="fd00:65::/64", ip_version=6)

    def has_both() -> bool:
        found = ports("attach", network.id, *place(space))["port"]["addresses"]
        ports("detach", *place(space))
        return len(found) == 2

    # The agent reads a network again some seconds after it was used.
    wait_for("a container has addresses of both families", has_both, LONG)
    gone = "the ports that lack the new family are gone"
    wait_for(gone, lambda: not old & {port.id for port in administrator.ports(network_id=network.id)}, LONG)


def test_a_security_group_can_be_deleted_once_nothing_is_attached_with_it(
    ports: Ports, demo: Any, administrator: Any, network: Any, space: str
) -> None:
    group = demo.create_security_group(name=f"group-{uuid.uuid4().hex[:8]}")
    ports("attach", network.id, *place(space), "--security-group", group.id)
    wait_for("warm ports have it", lambda: len(administrator_ports(administrator, network, group.id)) > 1, LONG)
    ports("detach", *place(space))

    def is_deleted() -> bool:
        try:
            demo.delete_security_group(group.id)
        except ConflictException:
            return False
        return True

    wait_for("the group is deleted", is_deleted, LONG)


def administrator_ports(administrator: Any, network: Any, group: str) -> list[Any]:
    return [port for port in administrator.ports(network_id=network.id) if group in port.security_group_ids]
