"""Which interface names a guest's configuration uses, and which NIC each one is to have. Pure.

A name like ens3 comes from the PCI slot that the source's chipset gave the NIC; it changes with the chipset. The MAC
address is kept by a migration, so each configured name is tied to its NIC's MAC address by a systemd .link file, and
the configuration itself, static addresses included, stays as it is.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,14}$")
_VIRTUAL = re.compile(r"^(?:lo|br|bond|team|vlan|virbr|docker|tun|tap|dummy|wg|veth|vxlan|gre|sit|ppp)[-_]?\w*$")
_RULE_MAC = re.compile(r"ATTRS?\{address\}==\"([0-9A-Fa-f:]{17})\"")
_RULE_NAME = re.compile(r"NAME=\"([^\"]+)\"")


@dataclass(frozen=True)
class Names:
    """Names that a piece of configuration uses: by MAC address where it says which, otherwise loose."""

    by_mac: Mapping[str, str]
    loose: tuple[str, ...] = ()


def in_interfaces(text: str) -> Names:
    """Names of interfaces(5): those that are brought up by themselves first."""
    stanzas: list[str] = []
    automatic: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "iface" and len(words) > 1:
            stanzas.append(words[1])
        elif words[0] == "auto" or words[0].startswith("allow-"):
            automatic.extend(words[1:])
        elif words[0] in ("bridge_ports", "bridge-ports", "bond-slaves", "slaves"):
            stanzas.extend(words[1:])
    physical = [name for name in stanzas if _is_physical(name)]
    return Names({}, tuple(dict.fromkeys(sorted(physical, key=lambda name: name not in automatic))))


def in_netplan(text: str) -> Names:
    """Names of a netplan file's `ethernets`. Malformed YAML has none."""
    by_mac: dict[str, str] = {}
    loose: list[str] = []
    for identity, facts in ethernets(text).items():
        match = facts.get("match") if isinstance(facts.get("match"), dict) else {}
        name = str(facts.get("set-name") or (match or {}).get("name") or identity)
        mac = (match or {}).get("macaddress")
        if mac and facts.get("set-name"):
            by_mac[str(mac).lower()] = name
        elif not mac and _is_physical(name):
            loose.append(name)
    return Names(by_mac, tuple(loose))


def ethernets(text: str) -> dict[str, dict[str, Any]]:
    """Return a netplan file's `ethernets`, empty if there are none or the file is malformed."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        return {}
    network = document.get("network") if isinstance(document, dict) else None
    found = network.get("ethernets") if isinstance(network, dict) else None
    return (
        {str(key): value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}
    )


def in_networkd(text: str) -> Names:
    """Names of a systemd.network(5) or systemd.link(5) file, or of a NetworkManager keyfile."""
    facts = dict(re.findall(r"^\s*([\w-]+)\s*=\s*(\S+)", text, re.MULTILINE))
    name = facts.get("Name") or facts.get("interface-name") or ""
    mac = str(facts.get("MACAddress") or facts.get("mac-address") or "").lower()
    if not _is_physical(name):
        return Names({})
    return Names({mac: name}) if mac else Names({}, (name,))


def in_ifcfg(file_name: str, text: str) -> Names:
    """Names of an ifcfg file of the RHEL or SUSE family: DEVICE= or the file's own name; HWADDR= ties it to a NIC."""
    facts = ifcfg_facts(text)
    name = facts.get("DEVICE") or file_name.partition("ifcfg-")[2]
    mac = (facts.get("HWADDR") or "").lower()
    if not _is_physical(name) or facts.get("TYPE", "Ethernet") != "Ethernet":
        return Names({})
    return Names({mac: name}) if mac else Names({}, (name,))


def ifcfg_facts(text: str) -> dict[str, str]:
    """Return the variables of an ifcfg file without their quotes; their names in capitals."""
    return {
        key.upper(): value.strip("\"'")
        for key, value in re.findall(r"^\s*([A-Za-z_0-9]+)=(\"[^\"]*\"|'[^']*'|\S*)", text, re.MULTILINE)
    }


def in_udev_rules(text: str) -> Names:
    """Names that udev's persistent-net rules give to MAC addresses."""
    by_mac = {}
    for line in text.splitlines():
        mac, name = _RULE_MAC.search(line), _RULE_NAME.search(line)
        if mac and name and not line.lstrip().startswith("#") and _is_physical(name.group(1)):
            by_mac[mac.group(1).lower()] = name.group(1)
    return Names(by_mac)


def assign(found: Sequence[Names], macs: Sequence[str]) -> dict[str, str]:
    """Return the name for each MAC address, in the order of `macs`; a NIC that no configuration names is left out.

    What the configuration ties to a MAC address goes first. Loose names go in their natural order (ens3 before ens10)
    to the NICs that are left, in the machine's order: both follow the order of PCI slots.
    """
    tied = {mac: name for names in found for mac, name in names.by_mac.items()}
    assigned = {mac.lower(): tied[mac.lower()] for mac in macs if mac.lower() in tied}
    loose = [name for names in found for name in names.loose]
    taken = set(tied.values())
    free = [name for name in dict.fromkeys(loose) if name not in taken]
    left = [mac.lower() for mac in macs if mac.lower() not in assigned]
    # More names than NICs: the first ones are those that are brought up by themselves.
    chosen = sorted(free[: len(left)], key=_natural)
    assigned.update(zip(left, chosen, strict=False))
    return {mac.lower(): assigned[mac.lower()] for mac in macs if mac.lower() in assigned}


def link_file(mac: str, name: str) -> str:
    """Return the systemd.link(5) file for a NIC. Type=ether spares VLANs, which share its MAC address."""
    return (
        "# Isthmus: this NIC keeps the name that the machine's configuration uses.\n"
        f"[Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nName={name}\n"
    )


def _is_physical(name: str) -> bool:
    return bool(_NAME.match(name)) and not _VIRTUAL.match(name)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
