"""What shares and snapshots hold, through chaos: nothing may be lost, torn, mixed or given to another.

While all is at rest, each share of a control plane's own back end is given bytes of its own, straight in the pool, as a
file server would. Until the next look users only snapshot, clone, revert, resize and delete, so it is known what each
may hold then: what it was left with, or what one of its snapshots holds.
"""

import os
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from isthmus.embedded.layout import Layout
from isthmus.embedded.share_servers import backend_options
from lab.share_user import ShareUser

NOTHING = ""
FILE = "bytes"
BLOCK = 4096
BLOCKS = 512


class Bytes:
    """The bytes of all shares and snapshots; a token stands for those of one write."""

    def __init__(self, state_dir: Path, seed: int) -> None:
        self._pool = Path(backend_options(Layout(state_dir))["state_dir"]) / "pool"
        self._lot = random.Random(seed)
        self._held: dict[str, str] = {}
        self._share_of: dict[str, str] = {}

    def findings(self, administrator: ShareUser) -> list[str]:
        """Return what holds other bytes than it may, a line each; then give each share new ones. All must be at rest.

        `administrator` lists everybody's shares.
        """
        shares = _listed(administrator, "shares", "all_tenants=1")
        snapshots = _listed(administrator, "snapshots", "all_tenants=1")
        self._share_of |= {each["id"]: each["share_id"] for each in snapshots}
        origins = {each["id"]: each["snapshot_id"] for each in shares}
        places = {
            **_places(self._pool / "shares", "share", "share_id", _listed(administrator, "share_instances")),
            **_places(
                self._pool / "snapshots", "snapshot", "snapshot_id", _listed(administrator, "snapshot-instances")
            ),
        }
        found, now = [], {}
        for kind, each in [*(("snapshot", one) for one in snapshots), *(("share", one) for one in shares)]:
            name = each["id"]
            if each["status"] != "available":
                continue
            may = self._may_hold_snapshot(name, origins) if kind == "snapshot" else self._may_hold(name, origins)
            now[name] = read(places[name])
            if now[name] not in may:
                found.append(f"{kind} {name} holds {now[name] or 'nothing'} and not {' or '.join(sorted(may))}")
        self._held |= now
        for share in shares:
            if share["status"] == "available":
                self._held[share["id"]] = self._write(places[share["id"]])
        return found

    def _may_hold(self, share: str, origins: Mapping[str, str | None]) -> set[str]:
        if share in self._held:
            own = {self._held[share]}
        elif origin := origins.get(share):
            own = self._may_hold_snapshot(origin, origins)
        else:
            own = {NOTHING}
        return own | {self._held[each] for each, of in self._share_of.items() if of == share and each in self._held}

    def _may_hold_snapshot(self, snapshot: str, origins: Mapping[str, str | None]) -> set[str]:
        if snapshot in self._held:
            return {self._held[snapshot]}
        share = self._share_of.get(snapshot)
        if share is None:  # it came and went between two looks
            return {NOTHING, *self._held.values()}
        return self._may_hold(share, origins)

    def _write(self, place: Path) -> str:
        token = f"{self._lot.getrandbits(64):016x}"
        with (place / FILE).open("wb") as file:
            file.write(token.encode().ljust(BLOCK, b".") * BLOCKS)
            file.flush()
            os.fsync(file.fileno())
        return token


def read(place: Path) -> str:
    """Return the token of what a share or snapshot holds; for what no write has left there, words that say so."""
    file = place / FILE
    if not file.exists():
        return NOTHING
    content = file.read_bytes()
    block = content[:BLOCK]
    if content != block * BLOCKS:
        return f"torn bytes ({len(content)} of them)"
    return block.decode(errors="replace").rstrip(".")


def _places(room: Path, prefix: str, of: str, instances: Iterable[Mapping[str, Any]]) -> dict[str, Path]:
    return {each[of]: room / f"{prefix}-{each['id']}" for each in instances}


def _listed(administrator: ShareUser, path: str, query: str = "") -> list[dict[str, Any]]:
    detail = "" if path == "share_instances" else "/detail"
    found: list[dict[str, Any]] = administrator.made("GET", f"/{path}{detail}?{query}")[path.replace("-", "_")]
    return found
