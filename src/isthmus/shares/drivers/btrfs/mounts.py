"""Mounting: the pool's image file, and each served subvolume by itself.

NFS-Ganesha knows a path by the device number of the file system mounted there, and a btrfs subvolume has a device
number of its own: so a subvolume is bind-mounted before it is served. Whatever guests put into shares, nothing in
them is a program, a device or a way to another user's rights on this machine: `nosuid`, `nodev`, `noexec`.
"""

import ctypes
import errno
import os
import re
import subprocess
import time
from pathlib import Path

from isthmus.shares.drivers.contract import BackendFull, BackendUnavailable, DriverFailed

_libc = ctypes.CDLL(None, use_errno=True)
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 2, 4, 8, 32, 4096
_HARMLESS = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_MOUNT_SECONDS = 60
_MKFS_SECONDS = 120
_SMALLEST_IMAGE_GIB = 1
_BUSY_SECONDS = 5.0


def mount_points() -> frozenset[str]:
    """Return every mount point that this process sees."""
    lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    return frozenset(_unescaped(line.split(" ")[4]) for line in lines)


def _unescaped(path: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)


def bind(source: Path, target: Path) -> None:
    """Show a subvolume at `target`, harmless to this machine. A second call would cover the first."""
    target.mkdir(mode=0o700, exist_ok=True)
    _mount(source, target, _MS_BIND)
    try:
        # The flags of a bind mount only count in a second call, see mount(2).
        _mount(source, target, _MS_BIND | _MS_REMOUNT | _HARMLESS)
    except OSError:
        _unmount(target, _MNT_DETACH)
        raise


def release(target: Path) -> None:
    """Take away a mount and its directory. Not there: returns."""
    _let_go(target, time.monotonic() + _BUSY_SECONDS)
    if target.exists():
        target.rmdir()


def release_below(directory: Path) -> None:
    """Take away every mount at and below a directory, the innermost first. None there: returns."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while found := sorted(path for path in mount_points() if Path(path).is_relative_to(directory)):
        for path in reversed(found):
            _let_go(Path(path), deadline)


def _let_go(target: Path, deadline: float) -> None:
    """Unmount. A server lets go of its files a moment after it was told; one that does not keeps them, unseen."""
    while True:
        try:
            _unmount(target, _UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT):
                return
            if error.errno != errno.EBUSY:
                raise
            if time.monotonic() > deadline:
                _unmount(target, _MNT_DETACH | _UMOUNT_NOFOLLOW)
            else:
                time.sleep(0.05)


def cover(directory: Path) -> None:
    """Put a small file system in memory over a directory, for mount points. Already so: returns.

    Mount points in it are gone after a restart of the machine: a server that starts too early finds nothing, rather
    than an empty directory of this machine's own disk that guests would then write to.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if str(directory) not in mount_points():
        options = b"mode=0700,size=1m,nr_inodes=0"
        target = os.fsencode(directory)
        _checked(_libc.mount(b"isthmus", target, b"tmpfs", ctypes.c_ulong(_HARMLESS), options), directory)


def make_image(image: Path, size_gib: int) -> None:
    """Make a sparse file of this size with an empty btrfs in it. Already there: returns."""
    if image.exists():
        return
    making = image.with_name(image.name + ".making")
    making.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with making.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.truncate(max(size_gib, _SMALLEST_IMAGE_GIB) << 30)
    _run(["mkfs.btrfs", "--quiet", "--force", str(making)], _MKFS_SECONDS, f"image {image} cannot be formatted")
    making.replace(image)


def mount_image(image: Path, target: Path) -> None:
    """Mount the image by a loop device that goes away with the mount. Already mounted: returns."""
    if str(target) in mount_points():
        return
    if not image.exists():
        raise BackendUnavailable(f"image {image} is not there: put it back, or correct the back end's `image`")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = "loop,nosuid,nodev,noexec,noatime,discard=async"
    # A shared file system cannot be mounted twice; `mount` finds the loop device that an unclean end left.
    command = ["mount", "--types", "btrfs", "--options", options, str(image), str(target)]
    _run(command, _MOUNT_SECONDS, f"image {image} cannot be mounted at {target}")


def _run(command: list[str], limit: float, trouble: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=limit)
    except FileNotFoundError as error:
        raise DriverFailed(f"{trouble}: `{command[0]}` is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise BackendUnavailable(f"{trouble} within {limit:.0f} s") from error
    except subprocess.CalledProcessError as error:
        words = error.stderr.strip()
        if "No space left" in words:
            raise BackendFull(f"{trouble}: {words}") from error
        raise BackendUnavailable(f"{trouble}: {words}") from error


def _mount(source: Path, target: Path, flags: int) -> None:
    _checked(_libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None), target)


def _unmount(target: Path, flags: int) -> None:
    _checked(_libc.umount2(os.fsencode(target), flags), target)


def _checked(result: int, target: Path) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))
