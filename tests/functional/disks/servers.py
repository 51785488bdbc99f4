"""Real NBD servers for the disk tests: started in a directory of their own, gone with the test."""

import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from isthmus.control.errors import Cancelled
from isthmus.migration.disks.job import CopyJob, Reads, Side
from isthmus.migration.reporting import Level, Progress

MIB = 1 << 20
_LYING = """
case "$1" in
  get_size) echo 8388608 ;;
  can_write|can_zero|can_flush|can_multi_conn) exit 0 ;;
  pread) head -c "$3" /dev/zero ;;
  pwrite) cat >/dev/null ;;
  zero|flush) exit 0 ;;
  *) exit 2 ;;
esac
"""


class Recorder:
    """A report that keeps everything, and cancels when told."""

    def __init__(self) -> None:
        self.seen: list[Progress] = []
        self.cancelled = threading.Event()

    def event(self, level: Level, message: str) -> None:
        raise AssertionError(message)

    def progress(self, progress: Progress) -> None:
        self.seen.append(progress)

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled("the test cancels")


class Lab:
    """A directory with disks and the servers on them."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="/tmp/isd-"))
        self._stack = ExitStack()
        self._count = 0

    def close(self) -> None:
        self._stack.close()
        shutil.rmtree(self.path)

    def disk(self, name: str, size: int, kind: str = "raw") -> Path:
        """An empty disk."""
        path = self.path / name
        run("qemu-img", "create", "-q", "-f", kind, path, size)
        return path

    def filled(self, name: str, size: int, *, seed: int = 1, share: float = 0.5) -> Path:
        """A raw disk with extents of random data of many lengths, and holes."""
        path, chance = self.path / name, random.Random(seed)
        with path.open("wb") as disk:
            disk.truncate(size)
            offset = chance.choice((0, 4096, 100_352))
            while offset < size:
                length = min(size - offset, chance.choice((512, 4096, 65536, 3 * 65536 + 512, MIB, 5 * MIB)))
                if chance.random() < share:
                    disk.seek(offset)
                    disk.write(chance.randbytes(length))
                offset += length
        return path

    def qemu_nbd(self, path: Path, kind: str = "raw", *more: str) -> "Server":
        """`path` served by qemu-nbd on a unix socket."""
        address = self._socket()
        return self._serve(["qemu-nbd", "-t", "-e", "8", "-f", kind, "-k", str(address), *more, str(path)], address)

    def nbdkit(self, *words: str) -> "Server":
        """nbdkit with these filters, plugin and parameters on a unix socket."""
        address = self._socket()
        return self._serve(["nbdkit", "--foreground", "--exit-with-parent", "--unix", str(address), *words], address)

    def liar(self) -> "Server":
        """A server of 8 MiB that takes everything and keeps nothing."""
        script = self.path / "lying.sh"
        script.write_text("#!/bin/sh\n" + _LYING)
        script.chmod(0o755)
        return self.nbdkit("sh", str(script))

    def listen(self, port: int, command: list[str]) -> None:
        """A server on a TCP port of loopback."""
        self._stack.callback(Server(command, ("127.0.0.1", port)).stop)

    def job(self, source: "Server", destination: "Server", size: int, **changes: object) -> CopyJob:
        """A full copy onto a blank destination, unless changed."""
        job = CopyJob(
            disk_id="vda",
            source=Side(source.uri),
            destination=Side(destination.uri),
            size_bytes=size,
            reads=Reads.ALLOCATION,
            state_file=self.path / "state",
            point="first",
            destination_is_zero=True,
        )
        return replace(job, **changes)  # type: ignore[arg-type]

    def _socket(self) -> Path:
        self._count += 1
        return self.path / f"{self._count}.sock"

    def _serve(self, command: list[str], address: Path) -> "Server":
        server = Server(command, address)
        self._stack.callback(server.stop)
        return server


class Server:
    """One NBD server process on a unix socket or a TCP port."""

    def __init__(self, command: list[str], address: Path | tuple[str, int]) -> None:
        self._command = command
        self._address = address
        self.uri = f"nbd+unix:///?socket={address}"
        self.start()

    def start(self) -> None:
        """Start, or start again on the same socket."""
        if isinstance(self._address, Path):
            self._address.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while not answers(self._address):
            assert self._process.poll() is None, f"{self._command} ended"
            assert time.monotonic() < deadline, f"{self._command} does not listen"
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(20)

    def stop(self) -> None:
        """End it, so that what it holds is on the disk."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                # QEMU 7.2 now and then waits for ever for a client that left in mid-handshake.
                self.kill()


def answers(address: Path | tuple[str, int]) -> bool:
    """Whether something accepts connections here; asking only for the socket's file would be too early."""
    with socket.socket(socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET) as probe:
        try:
            probe.connect(str(address) if isinstance(address, Path) else address)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


@contextmanager
def lab() -> Iterator[Lab]:
    """A lab for one test."""
    made = Lab()
    try:
        yield made
    finally:
        made.close()


def run(*words: object) -> None:
    """Run a program to its end."""
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL, timeout=60)


def alike(first: Path, second: Path) -> bool:
    """Whether two images hold the same, their formats found out by qemu-img."""
    return subprocess.run(["qemu-img", "compare", "-q", first, second], check=False, timeout=60).returncode == 0
