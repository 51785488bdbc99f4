"""What the initramfs must hold for the target's bus and NIC. Pure."""

import re
from collections.abc import Sequence

from isthmus.migration.morphing.contract import Target

_POLICY = re.compile(r"^\s*MODULES=[\"']?(\w+)", re.MULTILINE)
_BUS = {
    "virtio": (("virtio_pci", "virtio_blk"), ("virtio_blk",)),
    "scsi": (("virtio_pci", "virtio_scsi", "sd_mod"), ("virtio_scsi", "sd_mod")),
    "sata": (("ahci", "sd_mod"), ("ahci", "sd_mod")),
}
_NIC = {"virtio": "virtio_net", "e1000e": "e1000e", "e1000": "e1000"}
MARK = "# For the platform that Isthmus moved this machine to."


def policy(configurations: Sequence[str]) -> str:
    """Return MODULES= of initramfs.conf(5) and conf.d in the order in which they are read; "most" if none says."""
    found = [match.group(1) for text in configurations for match in _POLICY.finditer(text)]
    return found[-1] if found else "most"


def wanted_modules(target: Target) -> tuple[str, ...]:
    """Return the modules that must be in the initramfs, in the order in which they are loaded."""
    disks = _BUS.get(target.disk_bus, ((), ()))[0]
    nic = _NIC.get(target.nic_model)
    return (*disks, nic) if nic else disks


def needed_modules(target: Target) -> tuple[str, ...]:
    """Return the modules without which the guest does not find its root."""
    return _BUS.get(target.disk_bus, ((), ()))[1]


def drivers(listing: str) -> frozenset[str]:
    """Return module names out of modules.dep or modules.builtin: every "…/name.ko[.xz]" before a colon or line end."""
    names = re.findall(r"^(?:\S*/)?([\w-]+)\.ko(?:\.\w+)?:?", listing, re.MULTILINE)
    return frozenset(name.replace("-", "_") for name in names)


def with_modules(text: str, modules: Sequence[str]) -> tuple[str, list[str]]:
    """Return initramfs-tools' list of modules with these in it, and the ones that were added."""
    present = {line.split()[0].replace("-", "_") for line in text.splitlines() if line.strip() and line[0] != "#"}
    missing = [module for module in modules if module not in present]
    if not missing:
        return text, []
    begin = text if not text or text.endswith("\n") else f"{text}\n"
    mark = "" if MARK in text else f"{MARK}\n"
    return begin + mark + "".join(f"{module}\n" for module in missing), missing


def without_blacklist(text: str, modules: Sequence[str]) -> tuple[str, list[str]]:
    """Return a modprobe.d(5) file that no longer forbids these modules, and the ones that it forbade."""
    freed: list[str] = []
    lines = []
    for line in text.splitlines(keepends=True):
        words = line.split()
        forbids = len(words) > 1 and (
            words[0] == "blacklist" or (words[0] == "install" and words[2:3] in (["/bin/true"], ["/bin/false"]))
        )
        if forbids and words[1].replace("-", "_") in modules:
            freed.append(words[1])
            lines.append(f"# {line}")
        else:
            lines.append(line)
    return "".join(lines), freed
