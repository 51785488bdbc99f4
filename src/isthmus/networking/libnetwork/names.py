"""How Kuryr names and tags what it makes in Neutron; so do we, and each finds the other's.

Source: kuryr-libnetwork's `utils.py` and `constants.py` and kuryr-lib's `constants.py`. A tag had at most 60 characters
then, so a Docker id of 64 is two tags.
"""

from collections.abc import Collection

from isthmus.networking.model import IpNetwork, Label

EXISTING_POOL = "kuryr.subnetpool.existing"
UNBOUND_PORT = "kuryr-unbound-port"
PORT_OWNER = "compute:kuryr"
SUBNET_PREFIX = "kuryr-subnet-"
POOL_PREFIX = "kuryrPool-"
DEFAULT_POOLS = {4: "kuryr", 6: "kuryr6"}

SWARM = "isthmus.swarm"
"""Our tag of a network that swarm's manager allocated: no node deletes it, the manager's FreeNetwork does."""

_MADE = "isthmus.made:"


def id_tags(docker_id: str) -> frozenset[str]:
    """Return the tags of a Docker network's or endpoint's id."""
    halves = {"kuryr.net.uuid.lh": docker_id[:32], "kuryr.net.uuid.uh": docker_id[32:64]}
    return frozenset(f"{key}:{half}" for key, half in halves.items() if half)


def existing_tag(docker_id: str) -> str:
    """Return the tag that says: this network was there before Docker's."""
    return f"kuryr.net.existing:{docker_id[:12]}"


def is_adopted(tags: Collection[str], docker_id: str) -> bool:
    """Return whether a network's tags say that Docker's network only uses it."""
    return existing_tag(docker_id) in tags


def made_tag(docker_id: str) -> str:
    """Return our tag of a subnet that was made for a Docker network, or that another uses too: the last deletes it."""
    return f"{_MADE}{docker_id[:32]}"


def made_tags(tags: Collection[str]) -> frozenset[str]:
    """Return those of a subnet's tags that `made_tag` wrote."""
    return frozenset(tag for tag in tags if tag.startswith(_MADE))


def network_name(docker_id: str) -> str:
    """Return the name of a network made for Docker's."""
    return f"kuryr-net-{docker_id[:8]}"


def subnet_name(cidr: IpNetwork) -> str:
    """Return the name of a subnet made for Docker's pool."""
    return f"{SUBNET_PREFIX}{cidr}"


def pool_name(cidr: IpNetwork) -> str:
    """Return the name of a subnet pool made for Docker's."""
    return f"{POOL_PREFIX}{cidr}"


def range_tag(sub_pool: IpNetwork) -> str:
    """Return our tag of a subnet pool whose addresses shall come from a part of it (`--ip-range`)."""
    return f"isthmus.range:{sub_pool}"


def range_of(tags: Collection[str]) -> str | None:
    """Return the part that `range_tag` wrote down."""
    return next((tag.removeprefix("isthmus.range:") for tag in sorted(tags) if tag.startswith("isthmus.range:")), None)


def endpoint_label(endpoint_id: str) -> Label:
    """Return how the port of an endpoint is named."""
    return Label(f"{endpoint_id}-port", endpoint_id, PORT_OWNER, id_tags(endpoint_id))


def exposing_group(port_id: str) -> str:
    """Return the name of the security group that opens a port's exposed ports."""
    return f"{port_id}-exposed_ports"
