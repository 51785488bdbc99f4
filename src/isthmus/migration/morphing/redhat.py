"""Guests of the RHEL family: RHEL, CentOS, AlmaLinux, Rocky, Oracle Linux, Fedora and Amazon Linux.

Supported: what has GRUB 2, dracut and os-release: release 7 and later, Fedora 30 and later, Amazon Linux 2 and later.
"""

from collections.abc import Sequence
from typing import ClassVar

from isthmus.control.errors import NotSupported
from isthmus.migration.morphing import os_release, rpm_stages
from isthmus.migration.morphing.contract import GuestAccess, GuestDisks, GuestOS, Morpher, MorphRequest
from isthmus.migration.morphing.mounting import WAY_ON
from isthmus.migration.reporting import Report

_OLDEST = {"rhel": 7, "centos": 7, "almalinux": 8, "rocky": 8, "ol": 7, "fedora": 30, "amzn": 2}
_FIRST_AMAZON, _LAST_AMAZON_1 = 2011, 2018
"""Amazon Linux 1 was numbered by years; so are the releases after 2."""


class RedHatMorpher(Morpher):
    """The family that is configured by dracut, rpm, ifcfg files and NetworkManager."""

    family: ClassVar[str] = "redhat"

    @classmethod
    def detect(cls, guest: GuestAccess) -> GuestOS | None:
        """Read os-release; NotSupported for a release that is too old."""
        facts = os_release.read(guest)
        distribution, version = facts.get("ID", ""), facts.get("VERSION_ID", "")
        if not distribution and guest.exists("/etc/redhat-release"):
            name = (guest.read("/etc/redhat-release") or "").strip()
            raise NotSupported(f"{name} is not supported (release 7 is the oldest): {WAY_ON}")
        if distribution not in _OLDEST:
            return None
        name = os_release.product_name(facts)
        if not is_supported(distribution, version):
            raise NotSupported(
                f"{name} is not supported ({distribution} {_OLDEST[distribution]} is the oldest): {WAY_ON}"
            )
        return GuestOS(cls.family, distribution, version, name, os_release.architecture(guest))

    @classmethod
    def supports(cls, distribution: str, version: str) -> bool | None:
        """See the contract."""
        return is_supported(distribution, version) if distribution in _OLDEST else None

    def morph(self, guest: GuestDisks, request: MorphRequest, report: Report) -> Sequence[str]:
        """Run the stages of guests with rpm and dracut."""
        return rpm_stages.morph(guest, request, report)


def is_supported(distribution: str, version: str) -> bool:
    """Return whether this release is one that the morpher was written for."""
    numbers = os_release.version_numbers(version)
    if numbers is None or (distribution == "amzn" and _FIRST_AMAZON <= numbers[0] <= _LAST_AMAZON_1):
        return False
    return numbers[0] >= _OLDEST[distribution]
