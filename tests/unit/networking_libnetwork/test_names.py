"""Names, tags and ids that Kuryr and we share."""

from ipaddress import ip_network

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.networking.libnetwork import names
from isthmus.networking.libnetwork.pool_ids import Kind, PoolId, parse_pool_id

DOCKER_ID = "0123456789abcdef" * 4


def test_a_dockers_id_is_two_tags() -> None:
    assert names.id_tags(DOCKER_ID) == {
        "kuryr.net.uuid.lh:0123456789abcdef0123456789abcdef",
        "kuryr.net.uuid.uh:0123456789abcdef0123456789abcdef",
    }


def test_an_endpoints_port_is_named_as_kuryrs() -> None:
    label = names.endpoint_label(DOCKER_ID)

    assert (label.name, label.device_id, label.device_owner) == (f"{DOCKER_ID}-port", DOCKER_ID, "compute:kuryr")


def test_a_range_is_found_again_in_the_tags() -> None:
    tag = names.range_tag(ip_network("10.1.0.128/25"))

    assert names.range_of({"other", tag}) == "10.1.0.128/25"
    assert names.range_of({"other"}) is None


@pytest.mark.parametrize(
    "pool",
    [
        PoolId("uuid"),
        PoolId("uuid", project="blue"),
        PoolId("uuid", cidr=ip_network("fd00::/64"), swarm=True),
        PoolId("uuid", Kind.SUBNET, "blue", ip_network("10.1.0.0/24")),
    ],
)
def test_a_pools_id_comes_back(pool: PoolId) -> None:
    assert parse_pool_id(str(pool)) == pool


def test_kuryrs_pool_id_is_the_subnet_pools() -> None:
    assert str(PoolId("75c08ef5")) == "75c08ef5"


@pytest.mark.parametrize("text", ["a|b", "isthmus||tree|x||host", "isthmus||pool|||host", "isthmus||pool|x|ten|host"])
def test_another_drivers_pool_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="IPAM driver"):
        parse_pool_id(text)
