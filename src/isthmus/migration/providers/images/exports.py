"""NBD servers for images: one sandboxed qemu-nbd for each disk, alive beyond the provider that started it.

What is open is written in a record beside the sockets, so that another provider object, or a worker after a crash or a
restart of the machine, finds it, or finds that it is lost. A lock serialises those who open and close.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import nbd
import psutil

from isthmus.control.errors import Conflict, InvalidInput, StepFailed, Unavailable
from isthmus.migration.providers.contract import NearImage
from isthmus.migration.providers.images.formats import ImageFile, ImageFormat
from isthmus.migration.providers.images.sandbox import confined, is_locked, node

_START_SECONDS = 60
_CLOSING_SECONDS = 30.0
"""How long a server that writes has to close its image. What a copy has settled was flushed long before."""
_READING_SECONDS = 2.0
"""The same for one that only reads: QEMU 7.2 now and then waits for ever for a client that left in mid-handshake."""
_LONGEST_SOCKET = 107
_RECORD = "record.json"


@dataclass(frozen=True)
class Record:
    """What one owner has open. `identities` tell whether the files are still those that were opened."""

    owner: str
    writable: bool
    disks: tuple[str, ...]
    identities: tuple[str, ...]
    point: str = ""


@dataclass(frozen=True)
class Served:
    """An open export: where each disk is reached, in their order, and its record."""

    uris: tuple[str, ...]
    record: Record


class Exports:
    """The exports of one runtime directory."""

    def __init__(self, runtime: Path) -> None:
        self._runtime = runtime

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the runtime directory, so that nobody else opens or closes. Raises `Unavailable`."""
        try:
            self._runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._runtime, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise Unavailable(
                f"{self._runtime} cannot be used ({error.strerror}): correct runtime_dir in [worker]"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def find(self, owner: str) -> Record | None:
        """Return what is recorded for an owner, alive or not."""
        return _read(self._place(owner))

    def answering(self, record: Record) -> Served | None:
        """Return the record's export if all its servers answer."""
        place = self._place(record.owner)
        uris = tuple(_uri(place, number) for number in range(len(record.disks)))
        return Served(uris, record) if all(_answers(uri) for uri in uris) else None

    def refuse_taken(self, owner: str, disks: Sequence[str]) -> None:
        """Raise `Conflict` if somebody else has one of these disks open for writing."""
        for place in sorted(each for each in self._runtime.iterdir() if each.is_dir()):
            record = _read(place)
            if record is None or record.owner == owner or not record.writable or not set(record.disks) & set(disks):
                continue
            if self.answering(record):
                raise Conflict(f"the disks are open for writing by {record.owner}: try again when that has ended")
            self.stop(record.owner)

    def start(self, record: Record, images: Sequence[ImageFile]) -> Served:
        """Serve images; what cannot be served is taken back. Raises `StepFailed`, `Unavailable`."""
        self.stop(record.owner)
        place = self._place(record.owner)
        place.mkdir(mode=0o700)
        try:
            (place / _RECORD).write_text(json.dumps(asdict(record)))
            for number, image in enumerate(images):
                _start(place, number, image, writable=record.writable)
        except BaseException:
            self.stop(record.owner)
            raise
        served = self.answering(record)
        if served is None:
            self.stop(record.owner)
            raise Unavailable(f"the images of {record.owner} are not served: see the worker's log")
        return served

    def stop(self, owner: str) -> None:
        """End an owner's servers, which flush what was written, and forget them. Already done: there are none."""
        place = self._place(owner)
        if not place.exists():
            return
        _end_servers(place)
        shutil.rmtree(place)

    def _place(self, owner: str) -> Path:
        return self._runtime / hashlib.blake2s(owner.encode(), digest_size=8).hexdigest()


def identity(image: ImageFile) -> str:
    """Return what changes when an image's file is replaced or written."""
    found = [os.stat(path) for path in (image.path, *image.extents)]
    return "/".join(f"{each.st_dev}:{each.st_ino}:{each.st_size}:{each.st_mtime_ns}" for each in found)


def near(image: ImageFile, known: str | None = None) -> NearImage | None:
    """Return the image as a copy on this machine may read it, tied to the identity that is `known` of it.

    None for the formats that only QEMU reads, and for what is not a whole file.
    """
    if image.format not in {ImageFormat.RAW, ImageFormat.QCOW2} or image.offset or image.extents:
        return None
    return NearImage(str(image.path), image.format.value, int(known.split(":")[1]) if known else None)


def _read(place: Path) -> Record | None:
    try:
        facts = json.loads((place / _RECORD).read_text())
        return Record(**{**facts, "disks": tuple(facts["disks"]), "identities": tuple(facts["identities"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # none, or torn by a crash: then its servers were never told to anybody


def _uri(place: Path, number: int) -> str:
    return f"nbd+unix:///disk?socket={quote(str(place / f'{number}.sock'))}"


def _answers(uri: str) -> bool:
    handle = nbd.NBD()
    try:
        handle.connect_uri(uri)
        handle.shutdown()
    except nbd.Error:
        return False
    return True


def _start(place: Path, number: int, image: ImageFile, *, writable: bool) -> None:
    socket = place / f"{number}.sock"
    if len(os.fsencode(socket)) > _LONGEST_SOCKET:
        raise InvalidInput(f"{place} is too long a path for a socket: shorten runtime_dir in [worker]")
    command = ["qemu-nbd", "--persistent", "--shared=16", "--export-name=disk", f"--socket=/exports/{socket.name}"]
    command += ["--discard=unmap"] if writable else ["--read-only"]
    command += ["--image-opts", node(image)]
    words = confined(command, [image.path, *image.extents], writable=writable, exports=place)
    log = place / f"{number}.log"
    alive, held = os.pipe()
    try:
        try:
            with log.open("wb") as output:
                # setsid --fork: the server is nobody's child and outlives the worker; its directory finds it again.
                subprocess.run(
                    ["setsid", "--fork", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    check=True,
                    pass_fds=[held],
                )
        finally:
            os.close(held)
        deadline = time.monotonic() + _START_SECONDS
        while not (socket.exists() and _answers(_uri(place, number))):
            if _has_ended(alive):
                raise _ended(image, log)
            if time.monotonic() > deadline:
                raise Unavailable(f"{image.label} is not served after {_START_SECONDS} s; it will be tried again")
    finally:
        os.close(alive)


def _has_ended(alive: int) -> bool:
    """Wait for a moment; return whether every process that a server consists of has ended.

    Each holds the other end of the pipe `alive`. Neither its socket nor its command line would tell: a socket stays
    behind when a server is killed, and a process has no command line in the midst of an exec.
    """
    waiting = select.poll()
    waiting.register(alive, select.POLLIN)
    return bool(waiting.poll(50)) and not os.read(alive, 1)


def _ended(image: ImageFile, log: Path) -> Exception:
    """Return why a server has ended before it served."""
    words = log.read_text(errors="replace").strip()[-300:]
    if not words:  # QEMU and the sandbox say why they give up
        return Unavailable(f"the server of {image.label} was killed as it started; it will be tried again")
    if is_locked(words):
        return Conflict(f"{image.label} is in use by another program: stop its machine and try again. {words}")
    return StepFailed(f"{image.label} cannot be served: get the image again. {words}")


def _servers(place: Path) -> list[psutil.Process]:
    """Return the sandboxes that have this directory in their command, and all processes in them."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if words[:1] in (["bwrap"], ["setsid"]) and str(place) in words:
                found += [process, *process.children(recursive=True)]
        except psutil.Error:
            continue
    return found


def _end_servers(place: Path) -> None:
    record = _read(place)
    reads = record is not None and not record.writable
    deadline = time.monotonic() + (_READING_SECONDS if reads else _CLOSING_SECONDS)
    while processes := _servers(place):
        late = time.monotonic() > deadline
        for process in processes:
            with contextlib.suppress(psutil.Error):
                if late:
                    process.kill()
                elif process.name() == "qemu-nbd":
                    process.terminate()
        time.sleep(0.05)
