"""Guests of the SUSE family: SLES (and for SAP), openSUSE Leap and Tumbleweed.

Supported: what has GRUB 2 and dracut: SLES 12 and later, Leap 42 and later, Tumbleweed with GRUB's own menu entries.
"""

from collections.abc import Sequence
from typing import ClassVar

from isthmus.control.errors import NotSupported
from isthmus.migration.morphing import os_release, rpm_stages
from isthmus.migration.morphing.contract import GuestAccess, GuestDisks, GuestOS, Morpher, MorphRequest
from isthmus.migration.morphing.mounting import WAY_ON
from isthmus.migration.reporting import Report

_OLDEST = {"sles": 12, "sled": 12, "sles_sap": 12, "opensuse": 42, "opensuse-leap": 15, "opensuse-tumbleweed": 2018}


class SuseMorpher(Morpher):
    """The family that is configured by dracut, rpm and wicked or NetworkManager."""

    family: ClassVar[str] = "suse"

    @classmethod
    def detect(cls, guest: GuestAccess) -> GuestOS | None:
        """Read os-release; NotSupported for a release that is too old, or whose root is read-only."""
        facts = os_release.read(guest)
        distribution, version = facts.get("ID", ""), facts.get("VERSION_ID", "")
        name = os_release.product_name(facts)
        if not distribution and guest.exists("/etc/SuSE-release"):
            name = (guest.read("/etc/SuSE-release") or "").partition("\n")[0]
            raise NotSupported(f"{name} is not supported (SLES 12 is the oldest): {WAY_ON}")
        if distribution in ("sle-micro", "opensuse-microos", "sl-micro"):
            raise NotSupported(f"{name} is not supported (its root is a read-only snapshot): {WAY_ON}")
        if distribution not in _OLDEST:
            return None
        if not is_supported(distribution, version):
            raise NotSupported(f"{name} is not supported (SLES 12 and Leap 42 are the oldest): {WAY_ON}")
        return GuestOS(cls.family, distribution, version, name, os_release.architecture(guest))

    @classmethod
    def supports(cls, distribution: str, version: str) -> bool | None:
        """See the contract."""
        return is_supported(distribution, version) if distribution in _OLDEST else None

    def morph(self, guest: GuestDisks, request: MorphRequest, report: Report) -> Sequence[str]:
        """Run the stages of guests with rpm and dracut."""
        return rpm_stages.morph(guest, request, report)


def is_supported(distribution: str, version: str) -> bool:
    """Return whether this release is one that the morpher was written for; Tumbleweed's version is a date."""
    numbers = os_release.version_numbers(version)
    return numbers is not None and numbers[0] >= _OLDEST[distribution]
