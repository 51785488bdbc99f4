"""Static addresses of a Windows guest: found in its registry, set again at its first boot, by MAC address. Pure.

Windows ties an address to an adapter's place in the machine, and the target's NICs are in other places: they are new
adapters, which ask DHCP. So what was set is read here and given to the NICs with the MAC addresses that were kept.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.migration.morphing.contract import NicPlan
from isthmus.migration.morphing.hives import Key

NETWORK_CLASS = "{4D36E972-E325-11CE-BFC1-08002BE10318}"


@dataclass(frozen=True)
class StaticAddress:
    """What an adapter was set to. `name` is what people call it; addresses are pairs of IPv4 address and mask."""

    name: str
    addresses: tuple[tuple[str, str], ...]
    gateways: tuple[str, ...]
    name_servers: tuple[str, ...]


def static_addresses(interfaces: Key, connections: Key) -> list[StaticAddress]:
    """Return the adapters with static addresses, in the order of their places on the source's bus.

    `interfaces` is Services\\Tcpip\\Parameters\\Interfaces, `connections` Control\\Network\\{class}.
    """
    found = []
    for identity, interface in interfaces.keys.items():
        connection = connections.key(f"{identity}\\Connection")
        place = connection.text("PnpInstanceID")
        dhcp = interface.value("EnableDHCP")
        if not place or place.upper().startswith(("ROOT\\", "SWD\\")) or (dhcp and dhcp.as_number()):
            continue
        address, mask = interface.value("IPAddress"), interface.value("SubnetMask")
        pairs = tuple(
            zip(_addresses(address.as_texts() if address else ()), mask.as_texts() if mask else (), strict=False)
        )
        if not pairs:
            continue
        gateway = interface.value("DefaultGateway")
        servers = interface.text("NameServer").replace(",", " ").split()
        found.append(
            (
                place,
                StaticAddress(
                    connection.text("Name"),
                    pairs,
                    _addresses(gateway.as_texts() if gateway else ()),
                    _addresses(servers),
                ),
            )
        )
    return [each for _, each in sorted(found, key=lambda pair: pair[0])]


def assign(found: Sequence[StaticAddress], nics: Sequence[NicPlan]) -> list[tuple[str, StaticAddress]]:
    """Return the MAC address for each configuration: both are in the order of their places on the bus.

    NICs that are to ask DHCP take their configuration with them into nothing.
    """
    pairs = zip((nic for nic in nics), found, strict=False)
    return [(nic.mac_address.lower(), each) for nic, each in pairs if not nic.dhcp]


def script(assigned: Sequence[tuple[str, StaticAddress]]) -> str:
    """Return the PowerShell that sets the addresses. WMI's classes are in every Windows since 7 and 2008 R2."""
    lines = []
    for mac, static in assigned:
        addresses = ",".join(f"'{address}'" for address, _ in static.addresses)
        masks = ",".join(_quoted(mask) for _, mask in static.addresses)
        lines += [
            f"$nic = Get-WmiObject Win32_NetworkAdapterConfiguration | ? {{ $_.MACAddress -eq '{mac.upper()}' }}",
            f"$null = $nic.EnableStatic(@({addresses}), @({masks}))",
        ]
        if static.gateways:
            lines.append(f"$null = $nic.SetGateways(@({','.join(map(_quoted, static.gateways))}))")
        if static.name_servers:
            lines.append(f"$null = $nic.SetDNSServerSearchOrder(@({','.join(map(_quoted, static.name_servers))}))")
        if static.name:
            lines.append(
                f"$adapter = Get-WmiObject Win32_NetworkAdapter | ? {{ $_.MACAddress -eq '{mac.upper()}' }}; "
                f"$adapter.NetConnectionID = {_quoted(static.name)}; $null = $adapter.Put()"
            )
    return "\r\n".join([*lines, ""])


def _quoted(text: str) -> str:
    """Return a PowerShell string in which nothing is expanded; it also ends at typographic quotes."""
    for quote in "'\u2018\u2019\u201a\u201b":
        text = text.replace(quote, quote * 2)
    return f"'{text}'"


def _addresses(texts: Sequence[str]) -> tuple[str, ...]:
    """Return what are IPv4 addresses, but 0.0.0.0: the registry may hold anything."""
    found = []
    for text in texts:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            continue
        if int(address):
            found.append(str(address))
    return tuple(found)
