"""Results of ADD: what an attachment is, in the JSON of each version of the specification.

Internally a result is that of 1.1.0. Older versions say less: before 1.1.0 no MTU and no scope, and before 1.0.0 each
address carries its family as `version`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isthmus.networking.cni.configuration import ResultDns, RuntimeDns
from isthmus.networking.model import Attachment, InterfaceConfiguration, Network

LINK_SCOPE = 253
_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True)
class Interface:
    """An interface; `sandbox` is empty for one on the host. The MTU is in bytes."""

    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""


@dataclass(frozen=True)
class Ip:
    """An address with its prefix length, and the index of its interface."""

    address: str
    family: int
    gateway: str = ""
    interface: int = 0


@dataclass(frozen=True)
class ResultRoute:
    """A route; without `next_hop` it is on the link."""

    destination: str
    next_hop: str = ""


@dataclass(frozen=True)
class Result:
    """All of it."""

    interfaces: tuple[Interface, ...]
    ips: tuple[Ip, ...]
    routes: tuple[ResultRoute, ...]
    dns: ResultDns = field(default_factory=ResultDns)


def result_of(attachment: Attachment, configuration: InterfaceConfiguration, netns: str, dns: ResultDns) -> Result:
    """Return the result of an attachment that was plugged into a namespace with this configuration."""
    target = attachment.target
    gateways = {gateway.version: str(gateway) for gateway in configuration.gateways}
    host = (Interface(attachment.far_interface),) if attachment.far_interface else ()
    name = attachment.near_interface or (target.interface if target else "")
    inside = Interface(name, configuration.mac, configuration.mtu, netns)
    return Result(
        interfaces=(*host, inside),
        ips=tuple(
            Ip(f"{address}/{length}", address.version, gateways.get(address.version, ""), len(host))
            for address, length in configuration.addresses
        ),
        routes=(
            *(ResultRoute(_EVERYWHERE[gateway.version], str(gateway)) for gateway in configuration.gateways),
            *(ResultRoute(str(each.destination), str(each.next_hop or "")) for each in configuration.routes),
        ),
        dns=dns,
    )


def dns_of(network: Network, configured: ResultDns, asked: RuntimeDns | None) -> ResultDns:
    """Return what a resolver needs: as the runtime asks, else as the configuration says, else as the network has it."""
    if asked is not None and (asked.servers or asked.searches or asked.options):
        return ResultDns(nameservers=asked.servers, search=asked.searches, options=asked.options)
    servers = dict.fromkeys(str(server) for subnet in network.subnets for server in subnet.name_servers)
    return ResultDns(
        nameservers=configured.nameservers or list(servers),
        domain=configured.domain or network.dns_domain.rstrip("."),
        search=configured.search,
        options=configured.options,
    )


def render(result: Result, version: str, previous: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a result's JSON in a version. What a plugin before us made comes first, and our indices count from it."""
    before = previous or {}
    shift = len(before.get("interfaces") or ())
    answer: dict[str, Any] = {
        **{key: value for key, value in before.items() if key != "cniVersion"},
        "cniVersion": version,
        "interfaces": [*(before.get("interfaces") or ()), *(_interface(each, version) for each in result.interfaces)],
        "ips": [*(before.get("ips") or ()), *(_ip(each, version, shift) for each in result.ips)],
        "routes": [*(before.get("routes") or ()), *(_route(each, version) for each in result.routes)],
    }
    dns = {key: value for key, value in result.dns.model_dump().items() if value}
    if dns:
        answer["dns"] = dns
    return answer


def _interface(interface: Interface, version: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": interface.name}
    if interface.mac:
        shown["mac"] = interface.mac
    if interface.mtu and version == "1.1.0":
        shown["mtu"] = interface.mtu
    if interface.sandbox:
        shown["sandbox"] = interface.sandbox
    return shown


def _ip(ip: Ip, version: str, shift: int) -> dict[str, Any]:
    shown: dict[str, Any] = {"version": str(ip.family)} if version.startswith("0.") else {}
    shown |= {"address": ip.address, "interface": ip.interface + shift}
    if ip.gateway:
        shown["gateway"] = ip.gateway
    return shown


def _route(route: ResultRoute, version: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"dst": route.destination}
    if route.next_hop:
        shown["gw"] = route.next_hop
    elif version == "1.1.0":
        shown["scope"] = LINK_SCOPE
    return shown


def differences(previous: Mapping[str, Any], result: Result) -> tuple[str, ...]:
    """Return what a `prevResult` and the attachment as it is recorded disagree on, a sentence each."""
    inside = result.interfaces[-1]
    known = [each for each in previous.get("interfaces") or () if each.get("name") == inside.name]
    # A plugin after us may have changed the MAC (`tuning`), so only an interface that is not named at all is wrong.
    found = [] if any(each.get("sandbox") for each in known) else [f"prevResult has no interface {inside.name}"]
    promised = {str(each.get("address")) for each in previous.get("ips") or ()}
    found += [f"prevResult has no address {ip.address}" for ip in result.ips if ip.address not in promised]
    return tuple(found)
