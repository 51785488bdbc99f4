"""Has an interface finish its checksums before a packet leaves it, by the kernel's ethtool ioctl.

A veth leaves that to whatever hardware comes last. Open vSwitch's userspace datapath without its segmentation offload
has none, and drops what is unfinished: pings pass, and TCP hangs.
"""

import array
import errno
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_GET_TX_CHECKSUMS, _SET_TX_CHECKSUMS = 0x16, 0x17  # ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM of <linux/ethtool.h>


def finish(name: str, through: socket.socket | None = None) -> None:
    """Turn an interface's transmit checksum offload off, and with it what builds on it. Off already, gone: success.

    `through` is a socket of the interface's namespace, by default one of the calling thread's. Raises OSError.
    """
    _ask(name, _SET_TX_CHECKSUMS, 0, through)


def finishes(name: str, through: socket.socket | None = None) -> bool:
    """Return whether an interface finishes its checksums; True for one that is gone. Raises OSError."""
    return _ask(name, _GET_TX_CHECKSUMS, 0, through) == 0


def _ask(name: str, command: int, value: int, through: socket.socket | None) -> int:
    if through is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
            return _ask(name, command, value, here)
    question = array.array("I", [command, value])
    request = struct.pack("16sP", name.encode(), question.buffer_info()[0])
    try:
        fcntl.ioctl(through.fileno(), _SIOCETHTOOL, request)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
    return question[1]
