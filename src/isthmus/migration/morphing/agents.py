"""The source platform's agents, and cloud-init's ties to its metadata."""

import re

from isthmus.migration.morphing.contract import GuestAccess, Target
from isthmus.migration.morphing.packages import PackageDatabase
from isthmus.migration.morphing.programs import tail_of

AGENTS = {
    "vmware": (
        "open-vm-tools-desktop",
        "open-vm-tools",
        "open-vm-tools-dev",
        "open-vm-tools-containerinfo",
        "open-vm-tools-salt-minion",
        "open-vm-tools-sdmp",
    ),
    "azure": ("walinuxagent", "WALinuxAgent", "python-azure-agent", "python3-azure-agent"),
    "aws": ("amazon-ssm-agent", "ec2-instance-connect", "ec2-hibinit-agent", "amazon-ec2-utils", "ec2-utils"),
    "gcp": ("google-guest-agent", "google-osconfig-agent", "google-compute-engine", "google-compute-engine-oslogin"),
    "xen": ("xe-guest-utilities", "xe-guest-utilities-latest", "xenstore-utils"),
    "ovirt": ("ovirt-guest-agent",),
    "kvm": ("qemu-guest-agent",),
    "hyperv": ("hyperv-daemons", "linux-cloud-tools-virtual", "hyper-v"),
    "virtualbox": (
        "virtualbox-guest-utils",
        "virtualbox-guest-x11",
        "virtualbox-guest-additions",
        "virtualbox-guest-tools",
    ),
}
"""Packages of all families that serve one hypervisor or cloud only. Those of the target's own are kept."""

_HYPERVISORS = {"libvirt": "kvm", "openstack": "kvm", "proxmox": "kvm", "ovirt": "kvm", "vmware_vsphere": "vmware"}
_UNITS = {
    "open-vm-tools": ("open-vm-tools.service", "vgauth.service"),
    "walinuxagent": ("walinuxagent.service",),
    "WALinuxAgent": ("waagent.service",),
    "python-azure-agent": ("waagent.service",),
    "python3-azure-agent": ("waagent.service",),
    "amazon-ssm-agent": ("amazon-ssm-agent.service",),
    "google-guest-agent": ("google-guest-agent.service", "google-startup-scripts.service"),
    "google-osconfig-agent": ("google-osconfig-agent.service",),
    "xe-guest-utilities": ("xe-daemon.service", "xe-linux-distribution.service"),
    "ovirt-guest-agent": ("ovirt-guest-agent.service",),
    "hyper-v": ("hv_kvp_daemon.service", "hv_vss_daemon.service", "hv_fcopy_daemon.service"),
    "hyperv-daemons": (
        "hv-kvp-daemon.service",
        "hv-vss-daemon.service",
        "hv-fcopy-daemon.service",
        "hypervkvpd.service",
        "hypervvssd.service",
    ),
}
_PIN = re.compile(r"^\s*datasource(?:_list)?\s*:", re.MULTILINE)
_CLOUD_D = "/etc/cloud/cloud.cfg.d"
_DISABLED = "/etc/cloud/cloud-init.disabled"
_GIVING_METADATA = frozenset({"openstack"})
"""Platforms where cloud-init finds the machine's metadata, so that it has its part to do."""


def foreign_agents(target: Target) -> tuple[str, ...]:
    """Return the packages of every platform but the target's."""
    own = _HYPERVISORS.get(target.platform, target.platform)
    return tuple(name for platform, names in AGENTS.items() if platform != own for name in names)


def remove_agents(guest: GuestAccess, target: Target, database: PackageDatabase) -> list[str]:
    """Remove foreign agents by the package database alone; where that fails, keep them from starting."""
    installed = database.installed(guest, foreign_agents(target))
    if not installed:
        return []
    removal = database.remove(guest, installed)
    if removal.status == 0:
        return [f"agents: {name} of the source platform is purged" for name in installed]
    why = f"{database.name} did not remove it: {tail_of(removal.output, 120)}"
    changes = []
    for name in installed:
        for unit in _UNITS.get(name, (f"{name}.service",)):
            guest.link(f"/etc/systemd/system/{unit}", "/dev/null")
        changes.append(f"agents: {name} is kept from starting ({why})")
    return changes


def free_cloud_init(guest: GuestAccess, target: Target) -> list[str]:
    """Drop pins to the source's metadata; keep cloud-init from taking the machine for a new one."""
    changes = []
    for name in guest.list_directory(_CLOUD_D):
        path = f"{_CLOUD_D}/{name}"
        text = guest.read(path) if name.endswith(".cfg") else None
        if text and _PIN.search(text):
            without = without_pins(text)
            if without.strip():
                guest.write(path, without)
            else:
                guest.remove(path)
            changes.append(f"cloud-init: the pin to the source's metadata in {path} is dropped")
    identify = "/etc/cloud/ds-identify.cfg"
    text = guest.read(identify)
    if text and re.search(r"^\s*datasource\s*[:=]", text, re.MULTILINE):
        guest.remove(identify)
        changes.append(f"cloud-init: {identify} is removed")
    if target.platform in _GIVING_METADATA:
        return changes
    # With no metadata cloud-init would see a new instance: other SSH host keys, another network configuration.
    if guest.exists("/usr/bin/cloud-init") and not guest.exists(_DISABLED):
        guest.write(_DISABLED, "Isthmus: this platform gives no metadata. Remove this file to use cloud-init again.\n")
        changes.append(f"cloud-init: disabled, {target.platform} gives no metadata (remove {_DISABLED} to undo)")
    return changes


def without_pins(text: str) -> str:
    """Return a cloud.cfg.d file without its `datasource_list` and `datasource` keys and all below them."""
    lines = []
    dropping = False
    for line in text.splitlines(keepends=True):
        if re.match(r"^datasource(?:_list)?\s*:", line):
            dropping = True
        elif dropping and (line[:1] in " \t-" or not line.strip()):
            continue
        else:
            dropping = False
            lines.append(line)
    rest = "".join(lines)
    return "" if all(not line.strip() or line.startswith("#") for line in rest.splitlines()) else rest
