"""The demonstration's second part: a share that two kernels mount at once, its snapshot, and a share made from that."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab.control_plane import ControlPlane
from lab.share_access import ShareAccess, share_access
from lab.share_guest import KernelClient, ShareGuest
from lab.share_mount import MIB, MountedShare, Pattern
from lab.share_relay import seen_as
from lab.share_user import ShareUser

BEFORE, AFTER = Pattern(1, 8 * MIB), Pattern(2, 8 * MIB)
FILE = "ledger"


@dataclass(frozen=True)
class ShareShown:
    """What was seen: whether the second client read what the first wrote, and the snapshot kept it."""

    export: str
    read_by_the_other: bool
    kept_by_the_snapshot: bool

    @property
    def passed(self) -> bool:
        """Say whether all of it held."""
        return self.read_by_the_other and self.kept_by_the_snapshot


def show(plane: ControlPlane, say: Callable[[str], None]) -> ShareShown:
    """Create, mount twice, write, snapshot, overwrite, restore into a new share; everything is deleted again."""
    user = ShareUser.of(plane.demo_environment)
    say("share: two clients start (a guest kernel with NFS 4.2, two addresses)")
    with share_access(plane) as access, ShareGuest(access.network, clients=2) as (first, second):
        share = user.share(1, name="ledger")
        export = user.exports(share)[0]
        say(f"share: 1 GiB, NFS, {export}")
        for client in (first, second):
            user.allow(share, seen_as(client.address))
        with _mounted(access, first, user, share) as mine, _mounted(access, second, user, share) as theirs:
            mine.write(FILE, BEFORE)
            agreed = theirs.read(FILE) == BEFORE.contents
            say(f"share: {BEFORE.length // MIB} MiB written by one client and read by the other: {agreed}")
            snapshot = user.snapshot(share, name="before")
            mine.write(FILE, AFTER)
        kept = _kept(user, access, first, snapshot["id"])
        say(f"share: a share made from the snapshot holds what was overwritten since: {kept}")
        user.delete_snapshot(snapshot)
        user.delete(share)
    return ShareShown(export, agreed, kept)


@contextmanager
def _mounted(
    access: ShareAccess, client: KernelClient, user: ShareUser, share: Mapping[str, Any]
) -> Iterator[MountedShare]:
    mounted = access.mount(client, user, share)
    try:
        yield mounted
    finally:
        mounted.unmount(force=True)


def _kept(user: ShareUser, access: ShareAccess, client: KernelClient, snapshot_id: str) -> bool:
    copy = user.share(1, snapshot_id=snapshot_id)
    user.allow(copy, seen_as(client.address))
    with _mounted(access, client, user, copy) as mounted:
        kept = mounted.read(FILE) == BEFORE.contents
    user.delete(copy)
    return kept
