"""Debian and Ubuntu guests.

Supported: Debian 8 and later, Ubuntu LTS 16.04 and later, with initramfs-tools and GRUB 2, on plain partitions.
"""

import re
from collections.abc import Callable, Sequence
from typing import ClassVar

from isthmus.control.errors import NotSupported
from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing import agents, boot_loader, drivers, first_boot, fstab, network
from isthmus.migration.morphing.contract import GuestAccess, GuestDisks, GuestOS, Morpher, MorphRequest
from isthmus.migration.morphing.mounting import WAY_ON
from isthmus.migration.reporting import Progress, Report

_OLDEST_DEBIAN = 8
_OLDEST_UBUNTU = 16
_ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "ppc64el": "ppc64le", "s390x": "s390x"}
_TRIPLETS = {"x86_64-linux-gnu": "x86_64", "aarch64-linux-gnu": "aarch64", "i386-linux-gnu": "i686"}


class DebianMorpher(Morpher):
    """The family that is configured by initramfs-tools, dpkg, ifupdown and netplan."""

    family: ClassVar[str] = "debian"

    @classmethod
    def detect(cls, guest: GuestAccess) -> GuestOS | None:
        """Read os-release; NotSupported for a release that is too old or not a long-term one."""
        facts = parse_os_release(guest.read("/etc/os-release") or guest.read("/usr/lib/os-release") or "")
        distribution, version = facts.get("ID", ""), facts.get("VERSION_ID", "")
        if distribution not in ("debian", "ubuntu"):
            return None
        name = facts.get("PRETTY_NAME") or f"{distribution} {version}".strip()
        if not is_supported(distribution, version):
            raise NotSupported(f"{name} is not supported (Debian 8 and Ubuntu LTS 16.04 are the oldest): {WAY_ON}")
        return GuestOS(cls.family, distribution, version, name, _architecture(guest))

    def morph(self, guest: GuestDisks, request: MorphRequest, report: Report) -> Sequence[str]:
        """Run the stages one after another; each is idempotent."""
        architecture = _architecture(guest)
        target = request.target
        stages: list[tuple[str, Callable[[], list[str]]]] = [
            ("checking the boot loader", lambda: boot_loader.check_loader(guest, target, architecture)),
            ("mounting by UUID", lambda: name_file_systems(guest)),
            ("configuring GRUB", lambda: boot_loader.configure(guest, target)),
            ("configuring drivers", lambda: drivers.configure(guest, target)),
            ("naming NICs", lambda: network.adapt(guest, request.nics)),
            ("freeing cloud-init", lambda: agents.free_cloud_init(guest, target)),
            ("removing the source's agents", lambda: agents.remove_agents(guest, target)),
            ("running user scripts", lambda: _run_scripts(guest, request)),
            ("making the initramfs", lambda: drivers.update(guest)),
        ]
        changes: list[str] = []
        for number, (_, stage) in enumerate(stages):
            report.check()
            report.progress(Progress("morphing", number, len(stages), unit="steps"))
            changes.extend(stage())
        report.progress(Progress("morphing", len(stages), len(stages), unit="steps"))
        return changes


def parse_os_release(text: str) -> dict[str, str]:
    """Return os-release(5)'s variables without their quotes."""
    return {key: value.strip("\"'") for key, value in re.findall(r"^([A-Z_]+)=(.*?)\s*$", text, re.MULTILINE)}


def is_supported(distribution: str, version: str) -> bool:
    """Return whether this release is one that the morpher was written for; Ubuntu only in its LTS releases."""
    match = re.match(r"^(\d+)(?:\.(\d+))?", version)
    if not match:
        return False
    major, minor = int(match.group(1)), match.group(2)
    if distribution == "debian":
        return major >= _OLDEST_DEBIAN
    return major >= _OLDEST_UBUNTU and major % 2 == 0 and minor == "04"


def name_file_systems(guest: GuestAccess) -> list[str]:
    """Make fstab, crypttab and RESUME= name file systems by UUID."""
    found = guest.file_systems()
    resume = "/etc/initramfs-tools/conf.d"
    edits = [("/etc/fstab", fstab.by_uuid), ("/etc/crypttab", fstab.crypttab_by_uuid)]
    edits += [(f"{resume}/{name}", fstab.resume_by_uuid) for name in guest.list_directory(resume)]
    changes: list[str] = []
    for path, edit in edits:
        before = guest.read(path)
        if before is None:
            continue
        after, made = edit(before, found)
        if after != before:
            guest.write(path, after)
            changes.extend(made)
    return changes


def _run_scripts(guest: GuestAccess, request: MorphRequest) -> list[str]:
    now = [script.payload for script in request.scripts if script.phase == ScriptPhase.POST_OS_MOUNT]
    later = [script.payload for script in request.scripts if script.phase == ScriptPhase.FIRST_BOOT]
    changes = [first_boot.run_in_guest(guest, script, request.script_timeout_seconds) for script in now]
    return changes + first_boot.install(guest, later)


def _architecture(guest: GuestAccess) -> str:
    """Return the kernel's name for dpkg's architecture; "" if it cannot be told."""
    listed = (guest.read("/var/lib/dpkg/arch") or "").split()
    if listed:
        return _ARCHITECTURES.get(listed[0], listed[0])
    return next((_TRIPLETS[name] for name in guest.list_directory("/usr/lib") if name in _TRIPLETS), "")
