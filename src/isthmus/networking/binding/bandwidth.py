"""Limits of bandwidth (CNI's capability): token buckets of the kernel (tc-tbf) at both ends of an interface.

Why not Neutron's QoS: a policy for each container would have to be made by an administrator at each start, which costs
calls on the path of the start and a role that the agent must not have. A policy that exists is named by `qosPolicy`.
Why egress is limited at the container's end: with Open vSwitch's userspace datapath the host's end is read by a packet
socket, before any policing of the kernel there. The price: a container with CAP_NET_ADMIN can lift its egress limit
(CHECK then fails); where that matters, name a `qosPolicy`.
"""

from dataclasses import dataclass

from isthmus.networking.binding.contract import BindingUnavailable
from isthmus.networking.binding.links import explained, find_link
from isthmus.networking.binding.namespaces import inside, open_namespace
from isthmus.networking.binding.netlink import IPRoute
from isthmus.networking.model import Bandwidth

LATENCY_MICROSECONDS = 25_000
"""How long a packet may wait for its tokens before it is dropped; the reference plugin's value."""
_SMALLEST_BURST = 64 * 1024  # bytes: one segment as large as the kernel's offloads make them
_DEFAULT_BURST_SECONDS = 0.05
_ROOT = 0xFFFFFFFF
_HANDLE = 0x10000
_MOST = 0xFFFFFFFF


@dataclass(frozen=True)
class Limit:
    """A limit of one direction: bytes a second and bytes."""

    rate: int
    burst: int


def limit_of(rate: int, burst: int) -> Limit | None:
    """Return the limit of a rate in bits a second and a burst in bits; None for no limit."""
    if not rate:
        return None
    wanted = burst // 8 or int(rate / 8 * _DEFAULT_BURST_SECONDS)
    return Limit(max(rate // 8, 1), min(max(wanted, _SMALLEST_BURST), _MOST))


def apply(bandwidth: Bandwidth, far_interface: str, netns: str, interface: str) -> None:
    """Limit both directions of a plugged interface. Limited already: limited anew."""
    ingress, egress = _limits(bandwidth)
    with explained(f"limit the bandwidth of {interface} in {netns}"):
        if ingress:
            with IPRoute() as netlink:
                _limit(netlink, far_interface, ingress)
        if egress:
            with open_namespace(netns) as namespace:
                inside(namespace, netns, lambda there: _limit(there, interface, egress))


def missing(bandwidth: Bandwidth, far_interface: str, netns: str, interface: str) -> tuple[str, ...]:
    """Return which limits are not there, a sentence each."""
    ingress, egress = _limits(bandwidth)
    found: list[str] = []
    with explained(f"look at the bandwidth of {interface} in {netns}"):
        if ingress:
            with IPRoute() as netlink:
                found += _lacks(netlink, far_interface, ingress)
        if egress:
            with open_namespace(netns) as namespace:
                found += inside(namespace, netns, lambda there: _lacks(there, interface, egress))
    return tuple(found)


def _limits(bandwidth: Bandwidth) -> tuple[Limit | None, Limit | None]:
    return (
        limit_of(bandwidth.ingress_rate, bandwidth.ingress_burst),
        limit_of(bandwidth.egress_rate, bandwidth.egress_burst),
    )


def _limit(netlink: IPRoute, name: str, limit: Limit) -> None:
    link = find_link(netlink, name)
    if link is None:
        raise BindingUnavailable(f"{name} is gone, so that its bandwidth cannot be limited; try again")
    netlink.tc(
        "replace",
        "tbf",
        index=link["index"],
        handle=_HANDLE,
        parent=_ROOT,
        rate=limit.rate,
        burst=limit.burst,
        latency=LATENCY_MICROSECONDS,
    )


def _lacks(netlink: IPRoute, name: str, limit: Limit) -> list[str]:
    link = find_link(netlink, name)
    rates = [] if link is None else [_rate_of(each) for each in netlink.get_qdiscs(index=link["index"])]
    return [] if limit.rate in rates else [f"interface {name} is not limited to {limit.rate * 8} bits a second"]


def _rate_of(discipline: object) -> int | None:
    """Return a token bucket's bytes a second; None for another discipline."""
    get = discipline.get_attr  # type: ignore[attr-defined]  # pyroute2's message
    options = get("TCA_OPTIONS") if get("TCA_KIND") == "tbf" else None
    parameters = options.get_attr("TCA_TBF_PARMS") if options else None
    return None if parameters is None else int(parameters["rate"])
