"""Make the guest's NICs work under the names that its configuration uses."""

import re
from collections.abc import Callable, Sequence

from isthmus.migration.morphing import dhcp, network_names
from isthmus.migration.morphing.contract import GuestAccess, NicPlan
from isthmus.migration.morphing.network_names import Names

_INTERFACES = "/etc/network/interfaces"
_INTERFACES_D = "/etc/network/interfaces.d"
_LINKS = "/etc/systemd/network"
_RULES = ("/etc/udev/rules.d/70-persistent-net.rules", "/etc/udev/rules.d/75-cloud-ifupdown.rules")
_NETWORK_MANAGER = "/etc/NetworkManager/system-connections"
_IFCFG = ("/etc/sysconfig/network-scripts", "/etc/sysconfig/network")
_OURS = "10-isthmus-"


def adapt(guest: GuestAccess, nics: Sequence[NicPlan]) -> list[str]:
    """Tie configured names to MAC addresses, make NICs ask DHCP where planned; return one line for each change."""
    names = network_names.assign(list(_configured(guest)), [nic.mac_address for nic in nics])
    changes = []
    for mac, name in names.items():
        path = f"{_LINKS}/{_OURS}{mac.replace(':', '')}.link"
        content = network_names.link_file(mac, name)
        if guest.read(path) != content:
            guest.write(path, content)
            changes.append(f"network: the NIC with MAC address {mac} is named {name} on any chipset")
    for nic in nics:
        if nic.dhcp and (name := names.get(nic.mac_address.lower(), "")):
            changes.extend(_ask_dhcp(guest, name))
    changes.extend(f"udev: {path} removed" for path in _RULES if guest.remove(path))
    return changes


def _configured(guest: GuestAccess) -> list[Names]:
    found = [network_names.in_udev_rules(guest.read(path) or "") for path in _RULES]
    found += [network_names.in_interfaces("\n".join(guest.read(path) or "" for path in _interfaces_files(guest)))]
    for path in _files(guest, "/etc/netplan", ".yaml"):
        found.append(network_names.in_netplan(guest.read(path) or ""))
    found += [network_names.in_ifcfg(path.rpartition("/")[2], guest.read(path) or "") for path in _ifcfg_files(guest)]
    for directory, ending in ((_LINKS, ".link"), (_LINKS, ".network"), (_NETWORK_MANAGER, ".nmconnection")):
        found += [network_names.in_networkd(guest.read(path) or "") for path in _files(guest, directory, ending)]
    return found


def _ask_dhcp(guest: GuestAccess, name: str) -> list[str]:
    edits: list[tuple[str, Callable[[str, str], str]]] = []
    edits += [(path, dhcp.interfaces) for path in _interfaces_files(guest)]
    edits += [(path, dhcp.netplan) for path in _files(guest, "/etc/netplan", ".yaml")]
    edits += [(path, dhcp.keyfile) for path in _files(guest, _NETWORK_MANAGER, ".nmconnection")]
    edits += [(path, dhcp.ifcfg) for path in _ifcfg_files(guest) if _is_for(path, name, guest.read(path) or "")]
    edits += [(path, dhcp.networkd) for path in _files(guest, _LINKS, ".network")]
    changes = []
    for path, edit in edits:
        before = guest.read(path)
        if before is not None and (after := edit(before, name)) != before:
            guest.write(path, after)
            changes.append(f"network: {name} asks DHCP instead of its static address ({path})")
    return changes


def _ifcfg_files(guest: GuestAccess) -> list[str]:
    # What editors leave behind (ifcfg-eth0~, ifcfg-eth0.rpmsave) is read by nobody.
    found = [f"{directory}/{name}" for directory in _IFCFG for name in guest.list_directory(directory)]
    return [path for path in found if re.fullmatch(r"ifcfg-[A-Za-z0-9_-]+", path.rpartition("/")[2])]


def _is_for(path: str, name: str, text: str) -> bool:
    return network_names.ifcfg_facts(text).get("DEVICE", path.rpartition("ifcfg-")[2]) == name


def _interfaces_files(guest: GuestAccess) -> list[str]:
    return [_INTERFACES, *_files(guest, _INTERFACES_D, "")]


def _files(guest: GuestAccess, directory: str, ending: str) -> list[str]:
    return [f"{directory}/{name}" for name in guest.list_directory(directory) if name.endswith(ending)]
