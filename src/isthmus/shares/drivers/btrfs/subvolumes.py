"""The btrfs ioctls that shares need, as tiny typed functions on directory descriptors. All raise OSError.

Numbers and layouts are those of the kernel's <linux/btrfs.h>. They are called rather than btrfs-progs, because they
act on a directory that is open (no path can be exchanged underneath) and fail with an errno instead of prose.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_WRITE, _READ = 1, 2
_READ_ONLY = 1 << 1
_LIMIT_REFERENCED = 1 << 0
_QUOTA_ENABLE = 1
_VOLUME_ARGUMENTS = 4096
_NAME_OFFSET = 56  # of `name` in struct btrfs_ioctl_vol_args_v2
_NO_LIMIT = (1 << 64) - 1


def _number(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | 0x94 << 8 | number


_FLUSH = _number(0, 8, 0)
_SUBVOLUME_DESTROY = _number(_WRITE, 15, _VOLUME_ARGUMENTS)
_WAIT_SYNC = _number(_WRITE, 22, 8)
_SNAPSHOT_CREATE = _number(_WRITE, 23, _VOLUME_ARGUMENTS)
_SUBVOLUME_CREATE = _number(_WRITE, 24, _VOLUME_ARGUMENTS)
_START_SYNC = _number(_READ, 24, 8)
_SUBVOLUME_FLAGS = _number(_WRITE, 26, 8)
_FILE_SYSTEM = _number(_READ, 31, 1024)
_QUOTA_CONTROL = _number(_READ | _WRITE, 40, 16)
_QUOTA_LIMIT = _number(_READ, 43, 48)
_QUOTA_RESCAN = _number(_WRITE, 44, 64)
_QUOTA_RESCAN_WAIT = _number(0, 46, 0)
_SUBVOLUME_FACTS = _number(_READ, 60, 504)
_SUBVOLUMES_BELOW = _number(_READ | _WRITE, 61, 4096)


@dataclass(frozen=True)
class Subvolume:
    """Facts of a subvolume. `parent_uuid` is that of the subvolume it is a snapshot of, all zero if of none.

    `created_at` is in seconds since 1970; `created_in` is the transaction that made it.
    """

    tree_id: int
    uuid: bytes
    parent_uuid: bytes
    read_only: bool
    created_at: float
    created_in: int


def create(parent: int, name: str) -> None:
    """Make an empty subvolume below an open directory."""
    fcntl.ioctl(parent, _SUBVOLUME_CREATE, _arguments(0, 0, name))


def snapshot(parent: int, name: str, source: int, *, read_only: bool) -> None:
    """Make a snapshot of the subvolume open as `source`. It is on the disk when this returns, or is not there."""
    fcntl.ioctl(parent, _SNAPSHOT_CREATE, _arguments(source, _READ_ONLY if read_only else 0, name))


def set_read_only(subvolume: int, read_only: bool) -> None:
    """Let a subvolume be written to, or not. Already so: returns."""
    fcntl.ioctl(subvolume, _SUBVOLUME_FLAGS, struct.pack("=Q", _READ_ONLY if read_only else 0))


def destroy(parent: int, name: str) -> None:
    """Remove a subvolume with all it holds; its space comes back soon after. Raises ENOENT if it is not there."""
    arguments = bytearray(_VOLUME_ARGUMENTS)
    encoded = os.fsencode(name)
    arguments[8 : 8 + len(encoded)] = encoded
    fcntl.ioctl(parent, _SUBVOLUME_DESTROY, arguments)


def read(subvolume: int) -> Subvolume:
    """Return the facts of the subvolume that this descriptor lies in."""
    answer = bytearray(504)
    fcntl.ioctl(subvolume, _SUBVOLUME_FACTS, answer)
    tree_id = struct.unpack_from("=Q", answer, 0)[0]
    flags = struct.unpack_from("=Q", answer, 288)[0]
    made_in = struct.unpack_from("=Q", answer, 352)[0]
    seconds, nanoseconds = struct.unpack_from("=QI", answer, 392)
    return Subvolume(
        tree_id=tree_id,
        uuid=bytes(answer[296:312]),
        parent_uuid=bytes(answer[312:328]),
        # BTRFS_ROOT_SUBVOL_RDONLY of the root item, not the ioctls' flag.
        read_only=bool(flags & 1),
        created_at=seconds + nanoseconds / 1e9,
        created_in=made_in,
    )


def file_system_uuid(directory: int) -> str:
    """Return the file system's UUID as text. Raises ENOTTY where it is no btrfs."""
    answer = bytearray(1024)
    fcntl.ioctl(directory, _FILE_SYSTEM, answer)
    text = answer[16:32].hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def commit(directory: int) -> None:
    """Put all changes of names and limits onto the disk, without waiting for the shares' own written data."""
    transaction = bytearray(8)
    fcntl.ioctl(directory, _START_SYNC, transaction)
    fcntl.ioctl(directory, _WAIT_SYNC, bytes(transaction))


def flush(directory: int) -> None:
    """Put everything that was written to the file system onto the disk, and count it."""
    fcntl.ioctl(directory, _FLUSH)


def has_others_below(subvolume: int) -> bool:
    """Say whether there are subvolumes inside the one that is open: they are counted for themselves."""
    answer = bytearray(4096)
    fcntl.ioctl(subvolume, _SUBVOLUMES_BELOW, answer)
    return answer[4088] > 0


def enable_quotas(directory: int) -> None:
    """Count and limit what each subvolume refers to. Already so: returns."""
    fcntl.ioctl(directory, _QUOTA_CONTROL, bytearray(struct.pack("=QQ", _QUOTA_ENABLE, 0)))


def count_again(directory: int) -> None:
    """Have everything counted anew and wait for it; what is under way is waited for."""
    try:
        fcntl.ioctl(directory, _QUOTA_RESCAN, bytearray(64))
    except OSError as error:
        if error.errno != errno.EINPROGRESS:
            raise
    fcntl.ioctl(directory, _QUOTA_RESCAN_WAIT)


def limit(directory: int, tree_id: int, size: int | None) -> None:
    """Let a subvolume refer to `size` bytes at most; None lifts the limit."""
    wanted = _NO_LIMIT if size is None else size
    arguments = struct.pack("=QQQQQQ", tree_id, _LIMIT_REFERENCED, wanted, 0, 0, 0)
    fcntl.ioctl(directory, _QUOTA_LIMIT, bytearray(arguments))


def _arguments(descriptor: int, flags: int, name: str) -> bytearray:
    arguments = bytearray(_VOLUME_ARGUMENTS)
    struct.pack_into("=QQQ", arguments, 0, descriptor, 0, flags)
    encoded = os.fsencode(name)
    arguments[_NAME_OFFSET : _NAME_OFFSET + len(encoded)] = encoded
    return arguments


class Counts:
    """What the kernel counts for each subvolume, as it shows it below /sys/fs/btrfs. Sizes are bytes."""

    def __init__(self, uuid: str) -> None:
        self._place = Path("/sys/fs/btrfs") / uuid / "qgroups"

    def are_kept(self) -> bool:
        """Say whether quotas are on."""
        return (self._place / "enabled").exists() and self._read("enabled") == 1

    def are_wrong(self) -> bool:
        """Say whether the kernel has given up counting, as it may when a large subvolume is removed."""
        return self._read("inconsistent") != 0

    def always(self) -> None:
        """Have the kernel count whatever it costs: a limit must hold after a large subvolume was removed, too.

        Kernels since 6.1 skip the counting of removed trees beyond this height, and with it all counting until
        somebody asks for a rescan; 8 is higher than any tree.
        """
        threshold = self._place / "drop_subtree_threshold"
        if threshold.exists():
            threshold.write_text("8")

    def referenced(self, tree_id: int) -> int:
        """Return how much a subvolume refers to, as of the last commit."""
        return self._read(f"0_{tree_id}/referenced")

    def limit(self, tree_id: int) -> int | None:
        """Return a subvolume's limit, None if it has none."""
        found = self._read(f"0_{tree_id}/max_referenced")
        return None if found in (0, _NO_LIMIT) else found

    def limits(self) -> int:
        """Return the sum of all limits."""
        total = 0
        with os.scandir(self._place) as groups:
            names = [group.name for group in groups if group.name.startswith("0_")]
        for name in names:
            with _that_may_go_away():
                found = self._read(f"{name}/max_referenced")
                total += 0 if found == _NO_LIMIT else found
        return total

    def _read(self, name: str) -> int:
        return int((self._place / name).read_text())


@contextmanager
def _that_may_go_away() -> Iterator[None]:
    """Take it as nothing that a counted tree is removed meanwhile: ENOENT before its file is open, ENODEV after."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
