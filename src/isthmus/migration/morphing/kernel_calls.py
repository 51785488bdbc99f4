"""The Linux system calls that Python 3.11 does not offer, as tiny typed functions. All raise OSError."""

import ctypes
import errno
import os
import platform
from enum import IntFlag
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
_OPENAT2 = 437  # the same number on every architecture, see syscall(2) tables since Linux 5.6

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_MNT_DETACH = 2

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18

_CLONE_NEWNS = 0x00020000

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522


class Capability(IntFlag):
    """Bits of capabilities(7) that guest programs keep: what changing files and users inside their own root needs."""

    CHOWN = 1 << 0
    DAC_OVERRIDE = 1 << 1
    FOWNER = 1 << 3
    FSETID = 1 << 4
    KILL = 1 << 5
    SETGID = 1 << 6
    SETUID = 1 << 7
    SYS_CHROOT = 1 << 18
    SETFCAP = 1 << 31


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _checked(result: int, subject: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), subject)
    return result


def open_in_root(root: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as if the directory descriptor `root` were "/": no link leads out of it (openat2(2))."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    for _ in range(8):
        try:
            return _checked(
                _libc.syscall(_OPENAT2, root, os.fsencode(path), ctypes.byref(how), ctypes.sizeof(how)), path
            )
        except OSError as error:
            # The kernel gives EAGAIN when a rename elsewhere raced with the walk; the manual says to try again.
            if error.errno != errno.EAGAIN:
                raise
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), path)


def leave_mount_namespace() -> None:
    """Move this process into a mount namespace of its own, with copies of all that is mounted now."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare the mount namespace")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2)."""
    data = os.fsencode(options) if options else None
    _checked(_libc.mount(os.fsencode(source), os.fsencode(target), kind.encode(), flags, data), f"mount at {target}")


def unmount(target: str) -> None:
    """umount2(2), waiting for nothing and forcing nothing."""
    _checked(_libc.umount2(os.fsencode(target), 0), f"unmount {target}")


def enter_root(root: str) -> None:
    """Make the mount point `root` the root of this mount namespace and drop all that was mounted outside it.

    pivot_root(2) rather than chroot: a program that may call chroot itself could walk out of a mere chroot.
    """
    os.chdir(root)
    number = _PIVOT_ROOT[platform.machine()]
    _checked(_libc.syscall(number, b".", b"."), f"pivot_root to {root}")
    _checked(_libc.umount2(b".", _MNT_DETACH), "unmount of the old root")
    os.chdir("/")


def keep_only(capabilities: Capability) -> None:
    """Drop all other capabilities for good, and forbid to gain any by execve (no_new_privs)."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for number in range(last + 1):
        if not capabilities & (1 << number):
            _checked(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "PR_CAPBSET_DROP")
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    low, high = int(capabilities) & 0xFFFFFFFF, int(capabilities) >> 32
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    data = (_CapabilityData * 2)(_CapabilityData(low, low, 0), _CapabilityData(high, high, 0))
    _checked(_libc.capset(ctypes.byref(header), data), "capset")
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")


def forbid_gains() -> None:
    """Forbid this process and its children to gain any right by execve (no_new_privs)."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
