"""Facts of container networking, in Neutron's words. Times are in seconds, MTUs in bytes, addresses without a length."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Route:
    """A route of an interface: `next_hop` None means that the destination is on the link."""

    destination: IpNetwork
    next_hop: IpAddress | None


@dataclass(frozen=True)
class Subnet:
    """A Neutron subnet. `gateway` is None where it has none; `routes` are its `host_routes`."""

    id: str
    name: str
    project_id: str
    network_id: str
    cidr: IpNetwork
    gateway: IpAddress | None
    name_servers: tuple[IpAddress, ...] = ()
    routes: tuple[Route, ...] = ()
    pool_id: str | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Network:
    """A Neutron network with its subnets."""

    id: str
    name: str
    project_id: str
    mtu: int
    subnets: tuple[Subnet, ...] = ()
    shared: bool = False
    dns_domain: str = ""
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FixedIp:
    """One address of a port, and the subnet it is from."""

    subnet_id: str
    address: IpAddress


@dataclass(frozen=True)
class Port:
    """A Neutron port. `vif_type` and `vif_details` are set once it is bound to `host`."""

    id: str
    name: str
    project_id: str
    network_id: str
    mac: str
    fixed_ips: tuple[FixedIp, ...]
    status: str
    device_owner: str = ""
    device_id: str = ""
    host: str = ""
    vif_type: str = ""
    vif_details: Mapping[str, object] = field(default_factory=dict)
    security_groups: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()


class Owner(StrEnum):
    """Through which door an attachment came; keys of one owner never meet those of another."""

    LIBNETWORK = "libnetwork"
    CNI = "cni"
    HOST = "host"


@dataclass(frozen=True)
class Key:
    """What an attachment is known by: the owner's own id for it.

    libnetwork: the endpoint id. CNI: `<network name>/<container id>/<interface>`. Host: `<kind>/<name>`.
    """

    owner: Owner
    id: str


@dataclass(frozen=True)
class Wish:
    """What somebody wants attached. `project` names the credential it is done with (None: the agent's first).

    `addresses` and `mac` are demands: a wish that cannot have them fails. `addresses` may leave out a family, which is
    then chosen. `security_groups` None means the project's default. `port_id` takes a port that exists.
    `binder` None is what the agent is configured for.
    """

    key: Key
    network_id: str
    project: str | None = None
    addresses: tuple[IpAddress, ...] = ()
    mac: str | None = None
    security_groups: tuple[str, ...] | None = None
    qos_policy: str | None = None
    port_id: str | None = None
    name: str | None = None
    binder: str | None = None


class State(StrEnum):
    """Where an attachment is. Each move is a guarded update of the store, made before the act it announces.

    reserving -> reserved -> plugging -> plugged -> unplugging -> reserved -> releasing -> (row removed)
    """

    RESERVING = "reserving"
    RESERVED = "reserved"
    PLUGGING = "plugging"
    PLUGGED = "plugged"
    UNPLUGGING = "unplugging"
    RELEASING = "releasing"


class TargetKind(StrEnum):
    """Where the near end of an attachment is."""

    ENGINE = "engine"  # a veth's end left in the agent's own namespace: the engine moves it (libnetwork)
    NETNS = "netns"  # an interface that the agent moves, names and configures in a network namespace
    TAP = "tap"  # a virtual machine's tap device, which exists
    INTERFACE = "interface"  # an interface of this host itself, made and configured by the agent


@dataclass(frozen=True)
class Target:
    """The near end: `interface` is the name it has (TAP) or shall have; `netns` is a path as /run/netns/x (NETNS)."""

    kind: TargetKind
    interface: str
    netns: str | None = None


@dataclass(frozen=True)
class Attachment:
    """One attachment as the store has it. `far_interface` is the host's end; None before it is plugged."""

    wish: Wish
    state: State
    port: Port | None = None
    target: Target | None = None
    far_interface: str | None = None
