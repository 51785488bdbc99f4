"""What libvirt tells of a guest beyond its devices' sizes: its operating system, agent, snapshots, tied devices."""

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import libvirt

_OS_ID = re.compile(r"^https?://(?:www\.)?[^/]+/([^/]+)/(.+)$")
"""libosinfo's ids: http://debian.org/debian/12, http://ubuntu.com/ubuntu/22.04."""

_AS_OS_RELEASE = {
    "centos-stream": "centos",
    "alma": "almalinux",
    "oraclelinux": "ol",
    "sle": "sles",
    "opensuse": "opensuse-leap",
    "win": "windows",
}
"""libosinfo's word for a distribution where os-release's ID is another."""


def agent_connected(tree: ET.Element) -> bool:
    """Tell from the live XML whether a guest agent has opened its channel."""
    channels = tree.findall("devices/channel/target[@name='org.qemu.guest_agent.0']")
    return any(target.get("state") == "connected" for target in channels)


def guest_facts(domain: Any, tree: ET.Element) -> dict[str, Any]:
    """Return the fields of a `Machine` about its guest and about what does not move with it.

    `tree` is the domain's XML, the live one where it runs. Raises libvirt's errors.
    """
    running = bool(domain.isActive())
    has_channel = tree.find("devices/channel/target[@name='org.qemu.guest_agent.0']") is not None
    agent = agent_connected(tree) if running else (None if has_channel else False)
    distribution, version = _operating_system(domain, tree, ask=bool(agent))
    return {
        "os_distribution": distribution,
        "os_version": version,
        "guest_agent": agent,
        "snapshots": domain.snapshotNum(),
        "tpm": tree.find("devices/tpm") is not None,
        "host_devices": tuple(_host_device(element) for element in tree.findall("devices/hostdev")),
    }


def _operating_system(domain: Any, tree: ET.Element, *, ask: bool) -> tuple[str, str]:
    """Return os-release's ID and VERSION_ID: from the agent that answers, else from the definition's metadata."""
    if ask:
        try:
            told: Mapping[str, Any] = domain.guestInfo(libvirt.VIR_DOMAIN_GUEST_INFO_OS)
        except libvirt.libvirtError:
            told = {}  # an agent too old for the question: the metadata may know
        if told.get("os.id"):
            return str(told["os.id"]), str(told.get("os.version-id", ""))
    for element in tree.iter():
        found = _OS_ID.match(element.get("id", "")) if element.tag.endswith("}os") else None
        if found:
            return _AS_OS_RELEASE.get(found[1], found[1]), found[2]
    return "", ""


def _host_device(element: ET.Element) -> str:
    """Return the kind of a device and, for PCI, its address as lspci writes it."""
    kind = element.get("type", "device")
    source = element.find("source/address")
    if source is None or kind != "pci":
        return kind
    domain, bus, slot, function = (int(source.get(name, "0"), 0) for name in ("domain", "bus", "slot", "function"))
    return f"pci {domain:04x}:{bus:02x}:{slot:02x}.{function}"
