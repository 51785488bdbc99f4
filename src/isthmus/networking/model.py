"""Facts of container networking, in Neutron's words. Seconds for times, bytes for MTUs; addresses have no length."""

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
    dhcp: bool = True
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SubnetPool:
    """A Neutron subnet pool: prefixes that subnets are cut from."""

    id: str
    name: str
    project_id: str
    prefixes: tuple[IpNetwork, ...]
    default_prefix_length: int
    shared: bool = False
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
    external: bool = False
    dns_domain: str = ""
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FixedIp:
    """One address of a port, and the subnet it is from."""

    subnet_id: str
    address: IpAddress


@dataclass(frozen=True)
class Port:
    """A Neutron port. `vif_type` and `vif_details` are set once it is bound to `host`, and seen by services alone.

    `address_pairs` are its allowed ones, each as "ADDRESS MAC".
    """

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
    qos_policy: str | None = None
    address_pairs: frozenset[str] = frozenset()
    port_security: bool = True
    admin_up: bool = True
    revision: int = 0
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class InterfaceConfiguration:
    """What an interface is given: MAC, MTU, addresses with prefix lengths, gateways, routes.

    A gateway outside every address' prefix gets a route on the link first.
    """

    mac: str
    mtu: int
    addresses: tuple[tuple[IpAddress, int], ...]
    gateways: tuple[IpAddress, ...] = ()
    routes: tuple[Route, ...] = ()


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
class Label:
    """How a port is named in Neutron while it is attached. Written after the attachment, off its path.

    `tags` are added to the agent's own; without any, a warm port costs one call less.
    """

    name: str
    device_id: str
    device_owner: str = "compute:kuryr"
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Bandwidth:
    """Limits of an interface in bits a second and bits, from its owner's view; a rate of 0 is no limit."""

    ingress_rate: int = 0
    ingress_burst: int = 0
    egress_rate: int = 0
    egress_burst: int = 0


@dataclass(frozen=True)
class Wish:
    """What somebody wants attached. `project` names the credential it is done with (None: the agent's first).

    `addresses` and `mac` are demands: a wish that cannot have them fails. `addresses` may leave out a family, which is
    then chosen, from `subnet_ids` if there are any, else as Neutron does: one address of each family of the network.
    `security_groups` (ids) None means the project's default. `port_id` takes a port that exists; a wish without a
    `port_id` that names the `mac` or an address of an existing, unattached port takes no such port: it is a conflict.
    `binder` None is what the agent is configured for. `label` None is one made from the key.
    """

    key: Key
    network_id: str
    project: str | None = None
    subnet_ids: tuple[str, ...] = ()
    addresses: tuple[IpAddress, ...] = ()
    mac: str | None = None
    security_groups: tuple[str, ...] | None = None
    qos_policy: str | None = None
    port_id: str | None = None
    label: Label | None = None
    binder: str | None = None
    bandwidth: Bandwidth | None = None


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
    """The near end: `interface` is the name it has (TAP) or shall have; `netns` is a path as /run/netns/x (NETNS).

    For ENGINE `interface` is empty: the binder names it; `netns` is the sandbox that the engine will take it to, if it
    said so, which publishing a port on the host needs. `default_route` False leaves the gateways out (NETNS,
    INTERFACE), for all but the first interface of a sandbox.
    """

    kind: TargetKind
    interface: str = ""
    netns: str | None = None
    default_route: bool = True


@dataclass(frozen=True)
class Attachment:
    """One attachment as the store has it; what is not known yet is None.

    `port` and `network` are as they were when last read from Neutron, so that nothing waits for it. `far_interface` is
    the host's end and `near_interface` the target's, by which an engine finds it in the agent's namespace.
    `problem` is what the repairs could not mend, in a sentence.
    """

    wish: Wish
    state: State
    port: Port | None = None
    network: Network | None = None
    target: Target | None = None
    far_interface: str | None = None
    near_interface: str | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Row:
    """An attachment with what only the agent needs: the full name of its project, its binder, whether Neutron has its
    label, and, for a port that somebody else made, what it was like before: {Neutron's key: value}.
    """

    attachment: Attachment
    project: str
    binder: str
    labelled: bool = False
    borrowed: Mapping[str, str] | None = None

    @property
    def key(self) -> Key:
        """The attachment's key."""
        return self.attachment.wish.key


class Fate(StrEnum):
    """What becomes of a spare port."""

    WARM = "warm"
    DOOMED = "doomed"


@dataclass(frozen=True)
class SparePort:
    """A spare port. `pool` says which wishes it is right for; `borrowed` is as in an attachment's row.

    A warm one is `labelled` from its last use until Neutron was asked whether it still has the pool's rules: nobody
    gets it before.
    """

    port: Port
    fate: Fate
    pool: str
    project: str
    binder: str
    borrowed: Mapping[str, str] | None = None
    labelled: bool = False
    prepared: bool = False


class Protocol(StrEnum):
    """What is carried on a published port."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


@dataclass(frozen=True)
class PublishedPort:
    """A port of an attachment that is reached from outside. `host_address` None: every address of the host."""

    protocol: Protocol
    container_port: int
    host_port: int
    host_address: IpAddress | None = None


def addresses_of(port: Port | None) -> frozenset[IpAddress]:
    """Return the addresses of a port."""
    return frozenset(fixed.address for fixed in port.fixed_ips) if port else frozenset()
