"""Putting a share's tree back to a snapshot's in place, so that clients stay mounted.

To exchange the subvolume would be one rename, and a client's every handle stale: handles hold the subvolume's number.
So each file keeps its inode and gets the snapshot's bytes by reflink (FICLONE), which copies nothing. Files that have
not changed since are known by their inode number, which btrfs never gives twice in one subvolume, and by their change
time, which no client can set.

What guests put there is not trusted: every step is one name below an open directory, and no link is followed.
Doing it again after a kill ends in the same tree.
"""

import errno
import fcntl
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field

from isthmus.shares.drivers.contract import BackendUnavailable

_FICLONE = 0x40049409
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_TRIES = 5
_CLOCK_SLACK_NS = 1_000_000_000  # change times come from a coarse clock: only those well before the snapshot tell
_LONGEST_PATH = 4000


class _MovedError(Exception):
    """A client moved a directory while it was being put right."""


@dataclass
class _Place:
    """Where a walk is: an open directory, and the inode numbers of those above it.

    Only the lowest is open, however deep a guest's tree is; the way up is checked, as a client may move directories.
    """

    descriptor: int
    above: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)

    def enter(self, name: str) -> None:
        below = os.open(name, _DIRECTORY, dir_fd=self.descriptor)
        self.above.append(os.fstat(self.descriptor).st_ino)
        self.names.append(name)
        os.close(self.descriptor)
        self.descriptor = below

    def leave(self) -> str:
        parent = os.open("..", _DIRECTORY, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor = parent
        if os.fstat(parent).st_ino != self.above.pop():
            raise _MovedError
        return self.names.pop()


def restore(live: int, snapshot: int, taken_at: float) -> None:
    """Make the tree of the open directory `live` that of `snapshot`; `taken_at` is in seconds since 1970.

    Clients may work there meanwhile; what they write then may stay or not.
    """
    for _ in range(_TRIES):
        restoring = _Restoring(live, snapshot, int(taken_at * 1_000_000_000) - _CLOCK_SLACK_NS)
        try:
            restoring.run()
        except (_MovedError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        else:
            return
        finally:
            restoring.close()
    raise BackendUnavailable("clients move the share's files while it is being reverted: it is tried again")


class _Restoring:
    def __init__(self, live: int, snapshot: int, trusted_until: int) -> None:
        self._root = live
        self._live = _Place(os.dup(live))
        self._kept = _Place(os.dup(snapshot))
        self._trusted_until = trusted_until
        self._linked: dict[int, str] = {}

    def close(self) -> None:
        os.close(self._live.descriptor)
        os.close(self._kept.descriptor)

    def run(self) -> None:
        """Walk both trees together, each directory before what is in it."""
        pending = [self._put_files_right()]
        while pending:
            if pending[-1]:
                name = pending[-1].pop()
                self._live.enter(name)
                self._kept.enter(name)
                pending.append(self._put_files_right())
                continue
            pending.pop()
            _copy_attributes(self._kept.descriptor, self._live.descriptor)
            if pending:
                self._live.leave()
                self._kept.leave()

    def _put_files_right(self) -> list[str]:
        """Put right what lies in this directory; return the directories in it."""
        wanted = os.listdir(self._kept.descriptor)
        for name in set(os.listdir(self._live.descriptor)) - set(wanted):
            self._remove(name)
        directories = []
        for name in wanted:
            kept = _stat(self._kept.descriptor, name)
            there = _stat_if_there(self._live.descriptor, name)
            if stat.S_ISDIR(kept.st_mode):
                self._put_directory(name, there)
                directories.append(name)
            elif not self._is_unchanged(kept, there):
                self._put_right(name, kept, there)
            self._remember(kept, name)
        return directories

    def _put_directory(self, name: str, there: os.stat_result | None) -> None:
        if there and not stat.S_ISDIR(there.st_mode):
            self._remove(name)
            there = None
        if not there:
            os.mkdir(name, 0o700, dir_fd=self._live.descriptor)

    def _is_unchanged(self, kept: os.stat_result, there: os.stat_result | None) -> bool:
        return (
            there is not None
            and there.st_ino == kept.st_ino
            and there.st_ctime_ns == kept.st_ctime_ns < self._trusted_until
        )

    def _put_right(self, name: str, kept: os.stat_result, there: os.stat_result | None) -> None:
        # A file that has other names may be written in place only if those names are the snapshot's too.
        may_stay = there and (there.st_ino == kept.st_ino or there.st_nlink == kept.st_nlink == 1)
        in_place = may_stay and there and stat.S_ISREG(there.st_mode) and stat.S_ISREG(kept.st_mode)
        if there and not in_place:
            self._remove(name)
        if not in_place and self._link(name, kept):
            return
        if stat.S_ISREG(kept.st_mode):
            self._put_file(name, new=not in_place)
        else:
            self._put_special(name, kept)

    def _put_special(self, name: str, kept: os.stat_result) -> None:
        """Make a link, a pipe, a socket or a device; the file system is mounted so that devices are none."""
        here = self._live.descriptor
        if stat.S_ISLNK(kept.st_mode):
            os.symlink(os.readlink(name, dir_fd=self._kept.descriptor), name, dir_fd=here)
        else:
            os.mknod(name, kept.st_mode, kept.st_rdev, dir_fd=here)
        os.chown(name, kept.st_uid, kept.st_gid, dir_fd=here, follow_symlinks=False)
        if not stat.S_ISLNK(kept.st_mode):
            _set_mode(here, name, stat.S_IMODE(kept.st_mode))
        os.utime(name, ns=(kept.st_atime_ns, kept.st_mtime_ns), dir_fd=here, follow_symlinks=False)

    def _put_file(self, name: str, *, new: bool) -> None:
        source = os.open(name, _READ_FILE, dir_fd=self._kept.descriptor)
        try:
            flags = _FILE | os.O_CREAT | os.O_EXCL if new else _FILE
            target = os.open(name, flags, 0o600, dir_fd=self._live.descriptor)
            try:
                if not stat.S_ISREG(os.fstat(target).st_mode):
                    raise _MovedError
                os.ftruncate(target, os.fstat(source).st_size)
                fcntl.ioctl(target, _FICLONE, source)
                _copy_attributes(source, target)
            finally:
                os.close(target)
        finally:
            os.close(source)

    def _remember(self, kept: os.stat_result, name: str) -> None:
        path = "/".join((*self._live.names, name))
        if kept.st_nlink > 1 and not stat.S_ISDIR(kept.st_mode) and len(os.fsencode(path)) < _LONGEST_PATH:
            self._linked.setdefault(kept.st_ino, path)

    def _link(self, name: str, kept: os.stat_result) -> bool:
        """Make this another name of a file that was put right already; say whether there is one."""
        first = self._linked.get(kept.st_ino) if kept.st_nlink > 1 else None
        if first is None:
            return False
        *directories, last = first.split("/")
        place = _Place(os.dup(self._root))
        try:
            for directory in directories:
                place.enter(directory)
            os.link(last, name, src_dir_fd=place.descriptor, dst_dir_fd=self._live.descriptor, follow_symlinks=False)
        finally:
            os.close(place.descriptor)
        return True

    def _remove(self, name: str) -> None:
        if not stat.S_ISDIR(_stat(self._live.descriptor, name).st_mode):
            os.unlink(name, dir_fd=self._live.descriptor)
            return
        self._live.enter(name)
        pending = [self._remove_files()]
        while pending:
            if pending[-1]:
                self._live.enter(pending[-1].pop())
                pending.append(self._remove_files())
                continue
            pending.pop()
            self._remove_emptied(self._live.leave())

    def _remove_files(self) -> list[str]:
        """Remove all files of this directory; return the directories in it."""
        directories = []
        for name in os.listdir(self._live.descriptor):
            if stat.S_ISDIR(_stat(self._live.descriptor, name).st_mode):
                directories.append(name)
            else:
                os.unlink(name, dir_fd=self._live.descriptor)
        return directories

    def _remove_emptied(self, name: str) -> None:
        try:
            os.rmdir(name, dir_fd=self._live.descriptor)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise _MovedError from error
            raise


def _stat(directory: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _stat_if_there(directory: int, name: str) -> os.stat_result | None:
    try:
        return _stat(directory, name)
    except FileNotFoundError:
        return None


def _set_mode(directory: int, name: str, mode: int) -> None:
    """Set the mode of what cannot be opened for reading, whatever the process' umask is; never through a link."""
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        if stat.S_ISLNK(os.fstat(found).st_mode):
            raise _MovedError
        os.chmod(f"/proc/self/fd/{found}", mode)
    finally:
        os.close(found)


def _copy_attributes(source: int, target: int) -> None:
    """Give a file or directory the owner, mode, extended attributes and times of another."""
    wanted = os.fstat(source)
    os.fchown(target, wanted.st_uid, wanted.st_gid)
    kept = set(os.listxattr(source))
    for name in set(os.listxattr(target)) - kept:
        with suppress(OSError):  # a client removed it first
            os.removexattr(target, name)
    for name in kept:
        value = os.getxattr(source, name)
        if _attribute(target, name) != value:
            os.setxattr(target, name, value)
    os.fchmod(target, stat.S_IMODE(wanted.st_mode))
    os.utime(target, ns=(wanted.st_atime_ns, wanted.st_mtime_ns))


def _attribute(target: int, name: str) -> bytes | None:
    try:
        return os.getxattr(target, name)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        raise
