"""A virtual machine on a tap device of a playground's host: a kernel, busybox and a shell to give commands to.

    host.run("ip", "tuntap", "add", "tap0", "mode", "tap")
    with NetworkGuest(host, directory, tap="tap0", mac=port.mac_address) as guest:
        guest.run("udhcpc -q -n -i eth0 -s /dhcp")       # the address that Neutron has for the port
        guest.run("ping -c1 10.0.0.1")

Up in 5 to 20 seconds; needs no KVM. What it writes on its console is in `directory/console`.
"""

import contextlib
import gzip
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.initramfs import cloud_kernel, cpio, load_order, modules_of
from lab.network_host import NetworkHost

BOOT_SECONDS = 180
MEMORY_MIB = 160
MTU = 1442
_APPLETS = (
    "sh",
    "ip",
    "ping",
    "udhcpc",
    "nc",
    "cat",
    "sleep",
    "insmod",
    "mount",
    "stty",
    "echo",
    "mkdir",
    "true",
    "head",
)
_INIT = """#!/bin/sh
mkdir -p /proc /sys /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules.list); do insmod $module; done
ip link set lo up
ip link set eth0 mtu %(mtu)s up
stty -F /dev/ttyS1 raw -echo
exec </dev/ttyS1 >/dev/ttyS1 2>&1
echo ready
while read -r line; do
  sh -c "$line"
  echo "@ended $?"
done
"""
_DHCP = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address add "$ip/$mask" dev "$interface"
for gateway in $router; do ip route add default via "$gateway"; break; done
"""


class NetworkGuest:
    """The guest; a context manager. The tap must be there; whether it is on a network already does not matter."""

    def __init__(self, host: NetworkHost, directory: Path, *, tap: str, mac: str, mtu: int = MTU) -> None:
        self._host = host
        self._directory = directory
        self._tap = tap
        self._mac = mac
        self._mtu = mtu
        self._rest = b""

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        # A short path whatever the directory's: it holds a socket.
        self._place = tempfile.TemporaryDirectory(prefix="guest-")
        door = Path(self._place.name) / "shell"
        initramfs = self._directory / "initramfs"
        initramfs.write_bytes(gzip.compress(b"".join(_initramfs(self._mtu)), 1))
        self._machine = self._host.spawn(*self._command(initramfs, door), log=self._directory / "qemu.log")
        try:
            self._shell = self._open(door)
            self._read_until(b"ready", BOOT_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shell.close()
        self._end()

    def run(self, command: str, limit: float = 60) -> str:
        """Run a shell command in the guest and return its output; RuntimeError if it failed."""
        output, status = self.tell(command, limit)
        if status:
            raise RuntimeError(f"{command} ended with {status} in the guest:\n{output}")
        return output

    def succeeds(self, command: str, limit: float = 60) -> bool:
        """Run a shell command in the guest and say whether it ended well."""
        return self.tell(command, limit)[1] == 0

    def tell(self, command: str, limit: float = 60) -> tuple[str, int]:
        """Run a shell command in the guest and return its output and how it ended."""
        self._shell.sendall(command.encode() + b"\n")
        output = self._read_until(b"@ended ", limit)
        status = self._read_until(b"\n", limit)
        return output.replace("\r", ""), int(status)

    def _open(self, door: Path) -> socket.socket:
        deadline = time.monotonic() + BOOT_SECONDS
        shell = socket.socket(socket.AF_UNIX)
        while True:
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                shell.connect(str(door))
                return shell
            if self._machine.poll() is not None or time.monotonic() > deadline:
                shell.close()
                raise RuntimeError(f"QEMU does not start: {(self._directory / 'qemu.log').read_text()}")
            time.sleep(0.05)

    def _read_until(self, mark: bytes, limit: float) -> str:
        deadline = time.monotonic() + limit
        while mark not in self._rest:
            self._shell.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                received = self._shell.recv(1 << 16)
            except TimeoutError:
                raise TimeoutError(f"the guest gave no answer within {limit} s; it said {self._rest!r}") from None
            if not received:
                raise ConnectionError("the guest has ended")
            self._rest += received
        text, self._rest = self._rest.split(mark, 1)
        return text.decode(errors="replace")

    def _command(self, initramfs: Path, door: Path) -> list[str]:
        # The guest finishes its checksums itself: not every switch would.
        card = f"virtio-net-pci,netdev=n0,mac={self._mac},csum=off,host_tso4=off,host_tso6=off,host_ufo=off"
        return [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY_MIB), "-smp", "1"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", str(cloud_kernel())),
            *("-initrd", str(initramfs), "-serial", f"file:{self._directory / 'console'}"),
            *("-append", "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off cryptomgr.notests"),
            *("-serial", f"unix:{door},server=on,wait=off"),
            *("-netdev", f"tap,id=n0,ifname={self._tap},script=no,downscript=no", "-device", card),
        ]

    def _end(self) -> None:
        if machine := self._host.program_of(self._machine):
            machine.kill()
        self._machine.wait()
        self._place.cleanup()


def _initramfs(mtu: int) -> Iterator[bytes]:
    kernel = cloud_kernel()
    modules = load_order(modules_of(kernel), ("virtio_pci", "virtio_net", "8021q"))
    for directory in ("bin", "etc"):
        yield cpio(directory, 0o040755, b"")
    yield cpio("bin/busybox", 0o100755, Path("/bin/busybox").read_bytes())
    for applet in _APPLETS:
        yield cpio(f"bin/{applet}", 0o120777, b"busybox")
    for module in modules:
        yield cpio(Path(module).name, 0o100644, (modules_of(kernel) / module).read_bytes())
    yield cpio("modules.list", 0o100644, "".join(f"/{Path(module).name}\n" for module in modules).encode())
    yield cpio("init", 0o100755, (_INIT % {"mtu": mtu}).encode())
    yield cpio("dhcp", 0o100755, _DHCP.encode())
    yield cpio("TRAILER!!!", 0, b"")
