"""Debian and Ubuntu guests.

Supported: Debian 8 and later, Ubuntu LTS 16.04 and later, with initramfs-tools and GRUB 2, on plain partitions.
"""

from collections.abc import Sequence
from typing import ClassVar

from isthmus.control.errors import NotSupported
from isthmus.migration.morphing import agents, boot_loader, drivers, fstab, network, os_release, stages
from isthmus.migration.morphing.contract import GuestAccess, GuestDisks, GuestOS, Morpher, MorphRequest
from isthmus.migration.morphing.mounting import WAY_ON
from isthmus.migration.morphing.packages import DPKG
from isthmus.migration.reporting import Report

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
        facts = os_release.read(guest)
        distribution, version = facts.get("ID", ""), facts.get("VERSION_ID", "")
        if distribution not in ("debian", "ubuntu"):
            return None
        name = os_release.product_name(facts)
        if not is_supported(distribution, version):
            raise NotSupported(f"{name} is not supported (Debian 8 and Ubuntu LTS 16.04 are the oldest): {WAY_ON}")
        return GuestOS(cls.family, distribution, version, name, _architecture(guest))

    @classmethod
    def supports(cls, distribution: str, version: str) -> bool | None:
        """See the contract."""
        return is_supported(distribution, version) if distribution in ("debian", "ubuntu") else None

    def morph(self, guest: GuestDisks, request: MorphRequest, report: Report) -> Sequence[str]:
        """Run the stages one after another; each is idempotent."""
        architecture = _architecture(guest)
        target = request.target
        return stages.run(
            [
                lambda: boot_loader.check_loader(guest, target, architecture),
                lambda: name_file_systems(guest),
                lambda: boot_loader.configure(guest, target),
                lambda: drivers.configure(guest, target),
                lambda: network.adapt(guest, request.nics),
                lambda: agents.free_cloud_init(guest, target),
                lambda: agents.remove_agents(guest, target, DPKG),
                lambda: stages.run_user_scripts(guest, request),
                lambda: drivers.update(guest),
            ],
            report,
        )


def is_supported(distribution: str, version: str) -> bool:
    """Return whether this release is one that the morpher was written for; Ubuntu only in its LTS releases."""
    numbers = os_release.version_numbers(version)
    if not numbers:
        return False
    major, minor = numbers
    if distribution == "debian":
        return major >= _OLDEST_DEBIAN
    return major >= _OLDEST_UBUNTU and major % 2 == 0 and minor == 4


def name_file_systems(guest: GuestAccess) -> list[str]:
    """Make fstab, crypttab and RESUME= name file systems by UUID."""
    resume = "/etc/initramfs-tools/conf.d"
    changes = fstab.name_file_systems(guest)
    for name in guest.list_directory(resume):
        changes.extend(fstab.edit(guest, f"{resume}/{name}", fstab.resume_by_uuid))
    return changes


def _architecture(guest: GuestAccess) -> str:
    """Return the kernel's name for dpkg's architecture; "" if it cannot be told."""
    listed = (guest.read("/var/lib/dpkg/arch") or "").split()
    if listed:
        return _ARCHITECTURES.get(listed[0], listed[0])
    return next((_TRIPLETS[name] for name in guest.list_directory("/usr/lib") if name in _TRIPLETS), "")
