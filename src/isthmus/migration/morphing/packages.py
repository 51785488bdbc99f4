"""The guest's own package database, asked and changed by the guest's own program, without network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isthmus.migration.morphing.contract import CommandResult, GuestAccess

_SECONDS = 600


@dataclass(frozen=True)
class PackageDatabase:
    """One kind of package database: how to ask it for names, how to read its answer, how to remove packages."""

    name: str
    query: tuple[str, ...]
    removal: tuple[str, ...]
    read: Callable[[str, Sequence[str]], list[str]]

    def installed(self, guest: GuestAccess, wanted: Sequence[str]) -> list[str]:
        """Return those of `wanted` that the guest has, in their order."""
        return self.read(guest.run([*self.query, *wanted], timeout_seconds=_SECONDS).output, wanted)

    def remove(self, guest: GuestAccess, names: Sequence[str]) -> CommandResult:
        """Remove packages with their configuration; a status other than 0 if the database does not let them go."""
        return guest.run([*self.removal, *names], timeout_seconds=_SECONDS)


def read_dpkg(listing: str, wanted: Sequence[str]) -> list[str]:
    """Return the packages of `wanted` that dpkg-query's "ii name" lines show as there, in the order of `wanted`.

    Also those whose removal was begun or whose configuration files are left (rc), so that a killed purge goes on.
    """
    found = {
        words[1] for words in map(str.split, listing.splitlines()) if len(words) == 2 and words[0] not in ("un", "pn")
    }
    return [name for name in wanted if name in found]


def read_rpm(listing: str, wanted: Sequence[str]) -> list[str]:
    """Return the packages of `wanted` that rpm names on a line of their own; "… is not installed" is none."""
    found = {line.strip() for line in listing.splitlines()}
    return [name for name in wanted if name in found]


DPKG = PackageDatabase(
    "dpkg",
    ("/usr/bin/dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\\n"),
    ("/usr/bin/dpkg", "--purge"),
    read_dpkg,
)
RPM = PackageDatabase(
    "rpm",
    ("/usr/bin/rpm", "-q", "--queryformat", "%{NAME}\\n"),
    ("/usr/bin/rpm", "--erase", "--allmatches"),
    read_rpm,
)
