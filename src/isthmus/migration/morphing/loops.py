"""Loop devices that clear themselves: a killed process leaves none behind."""

import ctypes
import errno
import fcntl
import os
from dataclasses import dataclass

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LO_FLAGS_AUTOCLEAR = 4
_ATTEMPTS = 50


class _LoopInfo(ctypes.Structure):
    _fields_ = (
        ("device", ctypes.c_uint64),
        ("inode", ctypes.c_uint64),
        ("rdevice", ctypes.c_uint64),
        ("offset", ctypes.c_uint64),
        ("size_limit", ctypes.c_uint64),
        ("number", ctypes.c_uint32),
        ("encrypt_type", ctypes.c_uint32),
        ("encrypt_key_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("file_name", ctypes.c_uint8 * 64),
        ("crypt_name", ctypes.c_uint8 * 64),
        ("encrypt_key", ctypes.c_uint8 * 32),
        ("init", ctypes.c_uint64 * 2),
    )


class _LoopConfig(ctypes.Structure):
    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("info", _LoopInfo),
        ("reserved", ctypes.c_uint64 * 8),
    )


@dataclass(frozen=True)
class Loop:
    """A range of a file as a block device, for as long as `descriptor` is open or the device is mounted."""

    path: str
    descriptor: int

    def close(self) -> None:
        """Let the device go; the kernel clears it when its last user has."""
        os.close(self.descriptor)


def attach(file: str, offset: int, size: int) -> Loop:
    """Attach `size` bytes of `file` from `offset` (bytes) to a free loop device. Raises OSError."""
    backing = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_ATTEMPTS):
            control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
            try:
                path = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            finally:
                os.close(control)
            config = _LoopConfig(fd=backing)
            config.info.offset, config.info.size_limit = offset, size
            config.info.flags = _LO_FLAGS_AUTOCLEAR
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(device)
                if error.errno != errno.EBUSY:  # busy: another process took this device since it was found free
                    raise
            else:
                return Loop(path, device)
    finally:
        os.close(backing)
    raise OSError(errno.EBUSY, "no loop device is free", file)
