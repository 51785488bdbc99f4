"""The pool: one btrfs, and the subvolumes in it, found by name below directories that only root can enter.

    shares/share-<instance id>          whole shares         shares/making-<instance id>      half made ones
    snapshots/snapshot-<instance id>    whole snapshots
    names/<mount point name>            a link to the share that has the name
    served/<name>                       which of them servers know: they are mounted again after a restart

What is taken under management, and what is given up, lies beside them in the pool's own directory. A name of the
whole kind appears by a rename, when all is done; so what is there is whole, whenever a manager was killed.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from isthmus.shares.drivers.btrfs import subvolumes
from isthmus.shares.drivers.btrfs.subvolumes import Counts, Subvolume
from isthmus.shares.drivers.contract import BackendFull, BackendUnavailable, DriverFailed

SHARES, SNAPSHOTS, NAMES, SERVED = "shares", "snapshots", "names", "served"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SILENT = (errno.EIO, errno.EROFS, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOTTY, errno.ETIMEDOUT)


class Pool:
    """The pool as it was when it was opened: all names are below its descriptor, so it cannot be another one."""

    def __init__(self, directory: Path, descriptor: int) -> None:
        self.directory = directory
        self.descriptor = descriptor
        self.uuid = subvolumes.file_system_uuid(descriptor)
        self.counts = Counts(self.uuid)

    def prepare(self) -> None:
        """Make the rooms and count what each subvolume holds. Already so: returns."""
        for room in (SHARES, SNAPSHOTS, NAMES, SERVED):
            try:
                os.mkdir(room, 0o700, dir_fd=self.descriptor)
            except FileExistsError:
                with self.opened(room) as found:
                    os.fchmod(found, 0o700)
        if not self.counts.are_kept():
            subvolumes.enable_quotas(self.descriptor)
        self.counts.always()
        if self.counts.are_wrong():
            subvolumes.count_again(self.descriptor)

    def path(self, *names: str) -> Path:
        """Return the path of something in the pool, for programs that know no descriptors."""
        return self.directory.joinpath(*names)

    def has(self, *names: str) -> bool:
        """Say whether there is a directory of this name; a link is none."""
        try:
            found = os.stat("/".join(names), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode)

    @contextmanager
    def opened(self, *names: str) -> Iterator[int]:
        """Open a directory of the pool; no link on the way is followed."""
        descriptor = os.open("/".join(names), _DIRECTORY, dir_fd=self.descriptor)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def facts(self, room: str, name: str) -> Subvolume:
        """Return the facts of a subvolume. Raises FileNotFoundError."""
        with self.opened(room, name) as found:
            return subvolumes.read(found)

    def is_subvolume(self, *names: str) -> bool:
        """Say whether this is the root of a subvolume (whose inode always has this number)."""
        if not self.has(*names):
            return False
        return os.stat("/".join(names), dir_fd=self.descriptor, follow_symlinks=False).st_ino == 256

    def make(self, making: str, name: str, size: int, mode: int | None, source: str | None) -> None:
        """Make a share's subvolume, empty with a mode or from a snapshot, of `size` bytes. Already there: returns."""
        if self.has(SHARES, name):
            return
        with self.opened(SHARES) as room:
            self.destroy(SHARES, making)
            if source is None:
                subvolumes.create(room, making)
            else:
                with self.opened(SNAPSHOTS, source) as origin:
                    subvolumes.snapshot(room, making, origin, read_only=False)
            with self.opened(SHARES, making) as made:
                if mode is not None:
                    os.fchmod(made, mode)
                subvolumes.limit(self.descriptor, subvolumes.read(made).tree_id, size)
            os.rename(making, name, src_dir_fd=room, dst_dir_fd=room)
            subvolumes.commit(room)

    def destroy(self, room: str, name: str) -> None:
        """Remove a subvolume. Not there: returns."""
        if not self.has(room, name):
            return
        with self.opened(room) as found:
            # What is being cleaned away promises nothing any more.
            subvolumes.limit(found, self.facts(room, name).tree_id, None)
            subvolumes.destroy(found, name)

    def move(self, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        """Rename a subvolume within the pool. Raises FileExistsError if something has that name."""
        if os.path.lexists(self.path(*target)):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), "/".join(target))
        here = self.descriptor
        os.rename("/".join(source), "/".join(target), src_dir_fd=here, dst_dir_fd=here)
        subvolumes.commit(here)

    def move_read_only(self, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        """Rename a read-only subvolume into another directory: that changes its `..`, so it must be writable then."""
        with self.opened(*source) as moved:
            subvolumes.set_read_only(moved, False)
            self.move(source, target)
            subvolumes.set_read_only(moved, True)

    def used(self, room: str, name: str) -> int:
        """Return how many bytes a subvolume refers to, as of the last commit. Raises FileNotFoundError."""
        return self.counts.referenced(self.facts(room, name).tree_id)

    def flush(self) -> None:
        """Have all that was written counted."""
        subvolumes.flush(self.descriptor)

    def limit(self, name: str, size: int | None) -> None:
        """Let a share hold `size` bytes. Raises FileNotFoundError."""
        subvolumes.limit(self.descriptor, self.facts(SHARES, name).tree_id, size)
        subvolumes.commit(self.descriptor)

    def limit_of(self, name: str) -> int | None:
        """Return how many bytes a share may hold. Raises FileNotFoundError."""
        return self.counts.limit(self.facts(SHARES, name).tree_id)

    def served(self) -> tuple[str, ...]:
        """Return the names of the shares and snapshots that servers know."""
        with self.opened(SERVED) as room:
            return tuple(sorted(os.listdir(room)))

    def is_served(self, name: str) -> bool:
        """Say whether servers know this share or snapshot."""
        with self.opened(SERVED) as room:
            try:
                os.stat(name, dir_fd=room, follow_symlinks=False)
            except FileNotFoundError:
                return False
            return True

    def note_served(self, name: str) -> None:
        """Remember that servers know this share or snapshot. Done twice: the same."""
        with self.opened(SERVED) as room:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=room))

    def forget_served(self, name: str) -> None:
        """Remember it no more. Already so: returns."""
        with self.opened(SERVED) as room, suppress(FileNotFoundError):
            os.unlink(name, dir_fd=room)

    def claim_name(self, name: str, share: str) -> bool:
        """Give a share this name, whatever its case; say whether the share has it now."""
        with self.opened(NAMES) as room:
            try:
                os.symlink(share, name.lower(), dir_fd=room)
            except FileExistsError:
                return os.readlink(name.lower(), dir_fd=room) == share
            return True

    def give_up_names(self, share: str) -> None:
        """Take away all names of a share. It has none: returns."""
        with self.opened(NAMES) as room:
            for name in os.listdir(room):
                if os.readlink(name, dir_fd=room) == share:
                    os.unlink(name, dir_fd=room)

    def promised(self) -> int:
        """Return how many bytes all shares together may come to hold: snapshots have no limits."""
        return self.counts.limits()


@contextmanager
def storage_errors(subject: str) -> Iterator[None]:
    """Turn what the kernel says while something is done to `subject` into the contract's errors."""
    try:
        yield
    except OSError as error:
        words = f"{subject}: {error.strerror or error}"
        if error.errno in _FULL:
            raise BackendFull(f"{words}: the pool is full; remove snapshots and shares, or make it larger") from error
        if error.errno in _SILENT:
            raise BackendUnavailable(f"{words}: see the kernel's log of the pool's file system") from error
        raise DriverFailed(f"{words}: see the kernel's log of the pool's file system") from error
