"""What a Linux guest says it is, and the processor that it was built for."""

import re

from isthmus.migration.morphing.contract import GuestAccess

_LOADERS = {
    "/lib64/ld-linux-x86-64.so.2": "x86_64",
    "/usr/lib64/ld-linux-x86-64.so.2": "x86_64",
    "/lib/ld-linux-aarch64.so.1": "aarch64",
    "/usr/lib/ld-linux-aarch64.so.1": "aarch64",
    "/lib64/ld64.so.2": "ppc64le",
    "/lib/ld64.so.1": "s390x",
}
_NUMBERS = re.compile(r"^(\d+)(?:\.(\d+))?")


def read(guest: GuestAccess) -> dict[str, str]:
    """Return os-release(5)'s variables; empty if the guest has none."""
    return parse(guest.read("/etc/os-release") or guest.read("/usr/lib/os-release") or "")


def parse(text: str) -> dict[str, str]:
    """Return os-release(5)'s variables without their quotes."""
    return {key: value.strip("\"'") for key, value in re.findall(r"^([A-Z_]+)=(.*?)\s*$", text, re.MULTILINE)}


def product_name(facts: dict[str, str]) -> str:
    """Return what people call this release."""
    return facts.get("PRETTY_NAME") or f"{facts.get('ID', 'unknown')} {facts.get('VERSION_ID', '')}".strip()


def version_numbers(version: str) -> tuple[int, int] | None:
    """Return the first two numbers of a version, the second 0 if it has none; None if it does not begin with one."""
    match = _NUMBERS.match(version)
    return (int(match.group(1)), int(match.group(2) or 0)) if match else None


def architecture(guest: GuestAccess) -> str:
    """Return the kernel's name of the architecture, by the dynamic loader's file; "" if it cannot be told."""
    return next((name for path, name in _LOADERS.items() if guest.exists(path)), "")
