"""Real kernel clients of NFS and SMB: one small guest under emulation that is as many clients as one asks for.

    with ClientNetwork() as network, ShareGuest(network, clients=2) as (first, second):
        mounted = first.mount_nfs("10.70.1.1", "/share")
        mounted.write("file", Pattern(1, 30 * MIB))
        assert second.mount_nfs("10.70.1.1", "/share").read("file") == Pattern(1, 30 * MIB).contents
        mounted.unmount()

Each client is a network and UTS namespace of the guest with an address and a name of its own (`share_guest.c`), so a
server sees different machines. Calls are the kernel's: what fails raises the very OSError (EDQUOT, EROFS, EACCES).
Up in 5 to 20 seconds; needs no KVM.
"""

import contextlib
import gzip
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from lab.initramfs import cloud_kernel, cpio, load_order, modules_of, static_program
from lab.share_mount import MountedShare
from lab.share_network import ClientNetwork

BOOT_SECONDS = 120
MEMORY_MIB = 320
_MODULES = (
    *("virtio_pci", "virtio_net", "virtio_console", "nfsv3", "nfsv4"),
    # What cifs.ko asks for by name when it mounts: there is no modprobe in the guest.
    *("cmac", "hmac", "md5", "sha512_generic", "ccm", "gcm", "ctr", "ecb", "aes_generic", "nls_utf8", "cifs"),
)


class KernelClient:
    """One client in the guest. Its server sees it as `address` (or `address6`)."""

    def __init__(self, port: Path, address: str, address6: str) -> None:
        self.address = address
        self.address6 = address6
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(port))
        self._rest = b""
        self._numbers = itertools.count(1)
        self._mounts = itertools.count(1)

    def mount_nfs(
        self,
        server: str,
        path: str,
        *,
        port: int = 2049,
        mount_port: int = 20048,
        version: str = "4.2",
        options: str = "soft,timeo=100,retrans=2",
        read_only: bool = False,
    ) -> MountedShare:
        """Mount an export. OSError: what the kernel says, as EACCES, ENOENT or ETIMEDOUT.

        Attributes are not cached, so that each call asks the server; `options` say what to do when it is silent.
        `mount_port` is that of version 3's mount protocol; by version 3 there are no locks.
        """
        address = f"addr={server},port={port},proto={'tcp6' if ':' in server else 'tcp'},noac,sec=sys,{options}"
        source = f"[{server}]:{path}" if ":" in server else f"{server}:{path}"
        client = self.address6 if ":" in server else self.address
        if version == "3":
            mount = f"mountaddr={server},mountport={mount_port},mountproto=tcp"
            return self._mount(source, "nfs", f"vers=3,nolock,{mount},{address}", read_only)
        return self._mount(source, "nfs4", f"vers={version},clientaddr={client},{address}", read_only)

    def mount_cifs(
        self, server: str, share: str, *, user: str, password: str, port: int = 445, read_only: bool = False
    ) -> MountedShare:
        """Mount an SMB 3 share as a user. OSError: what the kernel says, as EACCES or ENOENT."""
        options = f"ip={server},port={port},user={user},pass={password},vers=3.0,cache=none,soft,sec=ntlmssp"
        return self._mount(f"//{server}/{share}", "cifs", options, read_only)

    def call(self, name: str, *arguments: object, limit: float = 120) -> list[str]:
        """Make one of the calls of `share_guest.c` and return its values; OSError with its errno if it fails.

        TimeoutError (without an errno) if there is no answer in `limit` seconds; a later answer is thrown away.
        """
        number = next(self._numbers)
        words = [urllib.parse.quote(str(word), safe="/:,=.-_@+[]!~#") or "%" for word in arguments]
        self._socket.sendall(" ".join([str(number), name, *words]).encode() + b"\n")
        deadline = time.monotonic() + limit
        while True:
            answered, errno, *values = self._line(deadline).split(" ")
            if int(answered) != number:
                continue
            if int(errno):
                # Of the arguments only the first: those of a mount hold a password.
                raise OSError(int(errno), f"{name} of {words[0]}: {os.strerror(int(errno))}")
            return [urllib.parse.unquote(value) for value in values if value]

    def wait_until_ready(self, limit: float) -> None:
        """Return when the client serves; TimeoutError after `limit` seconds."""
        while self._line(time.monotonic() + limit) != "0 0 ready":
            pass

    def close(self) -> None:
        """Hang up; the guest then ends."""
        self._socket.close()

    def _mount(self, source: str, kind: str, options: str, read_only: bool) -> MountedShare:
        target = f"/mnt/{self.address}-{next(self._mounts)}"
        self.call("mkdir", target, 0o755)
        self.call("mount", source, target, kind, os.ST_RDONLY if read_only else 0, options)
        return MountedShare(self, target)

    def _line(self, deadline: float) -> str:
        while b"\n" not in self._rest:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                received = self._socket.recv(1 << 16)
            except TimeoutError:
                raise TimeoutError(f"client {self.address} does not answer") from None
            if not received:
                raise ConnectionError(f"the guest of client {self.address} has ended")
            self._rest += received
        line, self._rest = self._rest.split(b"\n", 1)
        return line.decode()


class ShareGuest:
    """The guest; a context manager that gives its clients. `console` is what its kernel said."""

    def __init__(self, network: ClientNetwork, clients: int = 2) -> None:
        self.network = network
        self.count = clients
        self._first = network.take_addresses(clients)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> tuple[KernelClient, ...]:
        with contextlib.ExitStack() as stack:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="share-guest-")))
            self._console = directory / "console"
            initramfs = directory / "initramfs"
            initramfs.write_bytes(gzip.compress(b"".join(_initramfs(directory)), 1))
            ports = [directory / f"port{index}" for index in range(self.count)]
            machine = subprocess.Popen(
                self.network.switch.command(*self._command(initramfs, ports)), stdin=subprocess.DEVNULL
            )
            stack.callback(_end, machine)
            clients = [stack.enter_context(self._client(machine, port, index)) for index, port in enumerate(ports)]
            try:
                for client in clients:
                    client.wait_until_ready(BOOT_SECONDS)
            except (TimeoutError, ConnectionError) as error:
                raise RuntimeError(f"the guest did not come up:\n{self.console[-2000:]}") from error
            self._stack = stack.pop_all()
        return tuple(clients)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def console(self) -> str:
        """Return what the guest's kernel has said so far."""
        return self._console.read_text(errors="replace") if self._console.exists() else ""

    @contextlib.contextmanager
    def _client(self, machine: subprocess.Popen[bytes], port: Path, index: int) -> Iterator[KernelClient]:
        deadline = time.monotonic() + 20
        while not port.exists():
            if machine.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("QEMU does not start")
            time.sleep(0.02)
        host = self._first + index
        client = KernelClient(port, str(self.network.network[host]), self.network.address6(host))
        with contextlib.closing(client):
            yield client

    def _command(self, initramfs: Path, ports: list[Path]) -> list[str]:
        kernel = cloud_kernel()
        prefix = str(self.network.network.network_address).rsplit(".", 1)[0]
        arguments = (
            f"console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off cryptomgr.notests random.trust_cpu=on "
            f"share.clients={self.count} share.first={self._first} share.network={prefix} "
            f"share.network6={self.network.network6.network_address}"
        )
        command = [
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(MEMORY_MIB), "-smp", "1"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-kernel", str(kernel)),
            *("-initrd", str(initramfs), "-append", arguments, "-serial", f"file:{self._console}"),
            *("-device", "virtio-serial-pci"),  # the first virtio device, so that its ports are /dev/vport0pN
        ]
        for index, port in enumerate(ports):
            host = self._first + index
            tap = f"tap{host}"
            self.network.make_tap(tap)
            address = f"52:54:00:5a:{os.getpid() & 0xFF:02x}:{host:02x}"
            command += ["-netdev", f"tap,id=n{index},ifname={tap},script=no,downscript=no"]
            command += ["-device", f"virtio-net-pci,netdev=n{index},mac={address},romfile="]
            command += ["-chardev", f"socket,id=c{index},path={port},server=on,wait=off"]
            command += ["-device", f"virtserialport,chardev=c{index},nr={index + 1}"]
        return command


def _end(machine: subprocess.Popen[bytes]) -> None:
    """Wait for a guest whose ports were hung up, and kill it if it is stuck."""
    try:
        machine.wait(5)
    except subprocess.TimeoutExpired:
        machine.kill()
        machine.wait(20)


def _initramfs(scratch: Path) -> Iterator[bytes]:
    modules = modules_of(cloud_kernel())
    order = load_order(modules, _MODULES)
    yield cpio("bin", 0o040755, b"")
    yield cpio("init", 0o100755, static_program(Path(__file__).with_name("share_guest.c"), scratch / "init"))
    yield cpio("bin/busybox", 0o100755, Path(shutil.which("busybox") or "/bin/busybox").read_bytes())
    yield cpio("modules.list", 0o100644, "".join(f"/{Path(module).name}\n" for module in order).encode())
    for module in order:
        yield cpio(Path(module).name, 0o100644, (modules / module).read_bytes())
    yield cpio("TRAILER!!!", 0, b"")
