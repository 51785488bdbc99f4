"""NICs on Neutron networks: ports that the network agent of the hypervisor's host reserves, and plugs taps into.

In a network map such a network is `neutron:` and its name or id. It takes a worker on the hypervisor's own machine, as
only root there can open the agent's socket; what networks it shows are those of the project that the work is done for.

A port is reserved when the machine is defined, under the name of a tap that is made from the deployment's id, so that
every later call, of another process too, finds it. It is plugged between the machine's start and its first
instruction, and given back with the machine.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.control.network_agent import ask
from isthmus.migration.machine import Network, Nic, NicMapping
from isthmus.migration.providers.contract import Environment, HostNetwork

PREFIX = "neutron:"
_TAP = "ism"
_STEM_LENGTH = 9  # with the prefix and two digits, 14 of the kernel's 15 bytes
_MOST_NICS = 100


@dataclass(frozen=True)
class ReservedPort:
    """A Neutron port for a NIC: the tap that is plugged into it, the MTU of its network in bytes.

    `finish_checksums`: what the guest sends must have its checksums finished.
    """

    tap: str
    mac: str
    mtu: int
    addresses: tuple[str, ...]
    finish_checksums: bool


def is_neutron(network: str) -> bool:
    """Tell whether a destination network is Neutron's."""
    return network.startswith(PREFIX)


def list_networks(host: HostNetwork | None) -> Sequence[Network]:
    """Return the project's Neutron networks, ordered by name; none where the worker has no agent beside it."""
    if host is None:
        return []
    query = urlencode({"project_id": host.project_id} if host.project_id else {})
    found = ask(host.socket, "GET", f"/networks?{query}")["networks"]
    networks = [Network(PREFIX + each["id"], PREFIX + (each["name"] or each["id"])) for each in found]
    return sorted(networks, key=lambda network: network.name)


def check(host: HostNetwork | None, environment: Environment, nics: Sequence[NicMapping]) -> None:
    """Return if each NIC that goes to Neutron can. Changes nothing."""
    wanted = [mapping for mapping in nics if is_neutron(mapping.destination_network)]
    if not wanted:
        return
    known = {name for network in list_networks(_of(host)) for name in (network.id, network.name)}
    for mapping in wanted:
        if mapping.destination_network not in known:
            raise InvalidInput(
                f"the project has no Neutron network {mapping.destination_network.removeprefix(PREFIX)!r} with a "
                "subnet; correct the network map"
            )
        _kept_addresses(environment, mapping.nic)


def reserve(
    host: HostNetwork | None,
    environment: Environment,
    deployment_id: str,
    machine_name: str,
    nics: Sequence[NicMapping],
) -> Mapping[int, ReservedPort]:
    """Return {index of NIC: its port} of all that go to Neutron. Already done: the same ports.

    The MAC address is kept, and with the environment's `neutron.keep_addresses` the addresses are too.
    """
    return {
        index: _reserve(_of(host), environment, tap_name(deployment_id, machine_name, index), machine_name, mapping)
        for index, mapping in enumerate(nics)
        if is_neutron(mapping.destination_network)
    }


def plug(host: HostNetwork | None, taps: Sequence[str]) -> None:
    """Plug the taps of a machine that was started, into the ports reserved for them. Already done: success."""
    for tap in taps:
        ask(_of(host).socket, "POST", "/ports/plug", {"place": _place(tap)})


def release(host: HostNetwork | None, deployment_id: str, machine_name: str) -> None:
    """Give back all ports of a deployment's machine. Already done: there are none."""
    if host is None:
        return
    stem = _stem(deployment_id, machine_name)
    for port in ask(host.socket, "GET", "/ports")["ports"]:
        kind, _, tap = port["id"].partition("/")
        if port["owner"] == "host" and kind == "tap" and tap.startswith(stem):
            ask(host.socket, "POST", "/ports/detach", {"place": _place(tap)})


def tap_name(deployment_id: str, machine_name: str, index: int) -> str:
    """Return the name of the tap of a machine's NIC; `InvalidInput` beyond a hundred NICs."""
    if index >= _MOST_NICS:
        raise InvalidInput(f"machine {machine_name} has more than {_MOST_NICS} NICs; map fewer to Neutron")
    return f"{_stem(deployment_id, machine_name)}{index:02d}"


def is_tap(name: str) -> bool:
    """Tell whether a tap is one of those that are made here."""
    return name.startswith(_TAP) and len(name) == len(_TAP) + _STEM_LENGTH + 2


def _stem(deployment_id: str, machine_name: str) -> str:
    return _TAP + hashlib.sha256(f"{deployment_id}\0{machine_name}".encode()).hexdigest()[:_STEM_LENGTH]


def _of(host: HostNetwork | None) -> HostNetwork:
    if host is None:
        raise InvalidInput(
            "Neutron networks need a worker on the hypervisor's own machine, with [worker] network_agent set to the "
            "socket of that machine's network agent; choose one of libvirt's networks, or have the operator set it"
        )
    return host


def _place(tap: str) -> dict[str, str]:
    return {"kind": "tap", "interface": tap}


def _reserve(
    host: HostNetwork, environment: Environment, tap: str, machine_name: str, mapping: NicMapping
) -> ReservedPort:
    body: dict[str, Any] = {
        "place": _place(tap),
        "to": mapping.destination_network.removeprefix(PREFIX),
        "project_id": host.project_id,
        "mac": mapping.nic.mac_address,
        "addresses": _kept_addresses(environment, mapping.nic),
        "security_groups": (environment.get("neutron") or {}).get("security_groups"),
        "name": machine_name[:255],
    }
    port = ask(host.socket, "POST", "/ports/reserve", body)["port"]
    return ReservedPort(
        tap, str(port["mac"]), int(port["mtu"]), tuple(port["addresses"]), bool(port["finish_checksums"])
    )


def _kept_addresses(environment: Environment, nic: Nic) -> list[str]:
    if not (environment.get("neutron") or {}).get("keep_addresses"):
        return []
    found = [address for address in nic.ip_addresses if not address.lower().startswith("fe80:")]
    if not found:
        raise NotFound(
            f"no address of NIC {nic.mac_address} is known, so none can be kept: execute the transfer while the "
            "machine runs and its guest agent answers, or leave keep_addresses out"
        )
    return found
