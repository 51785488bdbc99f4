"""What a control plane's own back end holds, against what its API lists: what is too much, and what is missing.

Every finding is one line. Looked at are subvolumes, their limits, mounts, exports (kept and served) of NFS and of SMB.
"""

import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from isthmus.embedded.layout import Layout
from isthmus.embedded.share_servers import backend_options
from isthmus.shares.protocols.ganesha_bus import GaneshaBus
from lab.share_user import ShareUser

GIB = 1 << 30


class BackEnd:
    """The back end `local` of a control plane."""

    def __init__(self, state_dir: Path) -> None:
        options = backend_options(Layout(state_dir))
        self._place = Path(options["state_dir"])
        self._pool = self._place / "pool"
        self._exports = Path(options["ganesha_exports"])
        self._bus = GaneshaBus(options["ganesha_bus"])
        self._samba = options["samba_config"]

    def findings(self, administrator: ShareUser) -> list[str]:
        """Return how it differs from what the API lists. Nothing may be under way."""
        shares = _listed(administrator, "share_instances")
        snapshots = _listed(administrator, "snapshot-instances")
        wanted = {f"share-{each['id']}" for each in shares} | {f"snapshot-{each['id']}" for each in snapshots}
        return [
            *_compared("subvolume", self._subvolumes(), wanted),
            *self._wrong_limits(administrator, shares),
            *_surplus("mount", self._mounts(), wanted),
            *_surplus("export", self._kept_exports(), wanted),
            *_surplus("SMB share", self._smb_shares(), wanted),
            *_compared("Ganesha's export id", map(str, self._bus.export_ids() - {0}), self._kept_ids()),
            *self._qgroups(),
        ]

    def _subvolumes(self) -> set[str]:
        return {path.name for room in ("shares", "snapshots") for path in (self._pool / room).iterdir()}

    def _wrong_limits(self, administrator: ShareUser, shares: list[dict[str, Any]]) -> Iterator[str]:
        for instance in shares:
            size = administrator.made("GET", f"/shares/{instance['share_id']}")["share"]["size"]
            path = self._pool / "shares" / f"share-{instance['id']}"
            if path.exists() and (limit := self._limit(_tree_id(path))) != size * GIB:
                yield f"limit of {path.name}: {limit} instead of {size} GiB"

    def _qgroups(self) -> Iterator[str]:
        """Return groups of subvolumes that are not there any more."""
        _run("btrfs", "subvolume", "sync", str(self._pool))
        living = {line.split()[1] for line in _run("btrfs", "subvolume", "list", str(self._pool)).splitlines()} | {"5"}
        shown = _run("btrfs", "qgroup", "show", "--raw", str(self._pool)).splitlines()
        groups = {line.split()[0].removeprefix("0/") for line in shown if line.startswith("0/")}
        return (f"qgroup 0/{group} of no subvolume" for group in sorted(groups - living))

    def _limit(self, tree_id: str) -> int | None:
        for line in _run("btrfs", "qgroup", "show", "--raw", "-r", str(self._pool)).splitlines():
            words = line.split()
            if words and words[0] == f"0/{tree_id}":
                return None if words[3] == "none" else int(words[3])
        return None

    def _mounts(self) -> set[str]:
        below = f"{self._place / 'mounts'}/"
        points = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return {point.removeprefix(below) for point in points if point.startswith(below)}

    def _kept_exports(self) -> set[str]:
        return {path.name.rsplit(".", 2)[0] for path in self._exports.glob("*.*.conf")}

    def _kept_ids(self) -> set[str]:
        return {path.name.rsplit(".", 2)[1] for path in self._exports.glob("*.*.conf")}

    def _smb_shares(self) -> set[str]:
        return set(_run("net", f"--configfile={self._samba}", "conf", "listshares").split())


def usage_findings(user: ShareUser) -> list[str]:
    """Return how the project's used quotas differ from what it has."""
    shares = user.made("GET", "/shares/detail")["shares"]
    snapshots = user.made("GET", "/snapshots/detail")["snapshots"]
    wanted = {
        "shares": (len(shares), 0),
        "gigabytes": (sum(share["size"] for share in shares), 0),
        "snapshots": (len(snapshots), 0),
        "snapshot_gigabytes": (sum(snapshot["size"] for snapshot in snapshots), 0),
    }
    used = user.usage()
    return [f"quota of {name}: {used[name]} instead of {wanted[name]}" for name in wanted if used[name] != wanted[name]]


def _listed(administrator: ShareUser, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = administrator.made("GET", f"/{path}")[path.replace("-", "_")]
    return found


def _compared(what: str, found: Iterable[str], wanted: set[str]) -> Iterator[str]:
    there = set(found)
    yield from (f"{what} {name} is missing" for name in sorted(wanted - there))
    yield from _surplus(what, there, wanted)


def _surplus(what: str, found: set[str], wanted: set[str]) -> Iterator[str]:
    return (f"{what} {name} is of nothing" for name in sorted(found - wanted))


def _tree_id(path: Path) -> str:
    return _run("btrfs", "inspect-internal", "rootid", str(path)).strip()


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
