"""The demonstration's second part: a share, two clients that mount it, and a snapshot that keeps what was.

The clients are kernels of a guest under emulation, at addresses of their own; they reach the share by NFS 4.2.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.control_plane import ControlPlane
from lab.share_access import ShareAccess, share_access
from lab.share_guest import KernelClient, ShareGuest
from lab.share_mount import MIB, Pattern
from lab.share_relay import seen_as
from lab.share_user import ShareUser

BEFORE, AFTER = Pattern(1, 32 * MIB), Pattern(2, 8 * MIB)


@dataclass(frozen=True)
class ShareShown:
    """What was seen. `seconds_to_mount` is from asking for the share until the first client had it mounted."""

    export: str
    seconds_to_mount: float
    read_by_the_other: bool
    stranger_refused: bool
    quota_held: bool
    snapshot_kept: bool
    reverted: bool

    @property
    def passed(self) -> bool:
        """Whether all was as promised."""
        seen = (self.read_by_the_other, self.stranger_refused, self.quota_held, self.snapshot_kept, self.reverted)
        return all(seen)


def show(plane: ControlPlane, say: Callable[[str], None]) -> ShareShown:
    """Make a share in a control plane that runs, show it from two clients, and remove it."""
    say("share: two clients start (a guest kernel with NFS 4.2, two addresses)")
    with share_access(plane) as access, ShareGuest(access.network, clients=2) as (one, other):
        return _shown(ShareUser.of(plane.demo_environment), access, one, other, say)


def _shown(
    user: ShareUser, access: ShareAccess, one: KernelClient, other: KernelClient, say: Callable[[str], None]
) -> ShareShown:
    begun = time.monotonic()
    made = user.share(1, name="demo")
    export = user.exports(made)[0]
    refused = _is_refused(access, user, made, one)
    for client in (one, other):
        user.allow(made, seen_as(client.address))
    ones, others = (access.mount(client, user, made) for client in (one, other))
    seconds = time.monotonic() - begun
    say(f"share: 1 GiB at {export}, mounted by NFS 4.2 at two clients after {seconds:.1f} s; before, nobody could")
    ones.write("file", BEFORE)
    read = others.read("file") == BEFORE.contents
    say(f"share: one client wrote {BEFORE.length // MIB} MiB, the other {'read the same' if read else 'READ OTHERS'}")
    snapshot = user.snapshot(made)
    others.write("file", AFTER)
    copy = user.share(1, snapshot_id=snapshot["id"])
    user.allow(copy, seen_as(one.address))
    copied = access.mount(one, user, copy)
    kept = copied.read("file") == BEFORE.contents and ones.read("file") == AFTER.contents
    copied.unmount()
    say(f"share: overwritten; a share made from its snapshot {'has what was before' if kept else 'IS WRONG'}")
    with ones.open("large", os.O_WRONLY | os.O_CREAT) as large:
        held = _is_full(lambda: large.allocate(1100 * MIB))
    say(f"share: a file larger than the share was {'refused: disk quota exceeded' if held else 'TAKEN'}")
    user.act(made, "revert", {"snapshot_id": snapshot["id"]})
    user.settled(f"/shares/{made['id']}", "share")
    reverted = others.read("file") == BEFORE.contents
    say(f"share: put back to its snapshot while mounted: {'both see what was before' if reverted else 'WRONG'}")
    for mounted in (ones, others):
        mounted.unmount()
    user.delete(copy)
    user.delete_snapshot(snapshot)
    user.delete(made)
    return ShareShown(export, round(seconds, 1), read, refused, held, kept, reverted)


def _is_refused(access: ShareAccess, user: ShareUser, made: dict[str, object], client: KernelClient) -> bool:
    try:
        access.mount(client, user, made).unmount()
    except (FileNotFoundError, PermissionError):
        return True
    return False


def _is_full(action: Callable[[], None]) -> bool:
    try:
        action()
    except OSError as error:
        return "quota" in str(error)
    return False
