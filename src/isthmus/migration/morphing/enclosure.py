"""The child process of the worker-kernel way in: `python -m isthmus.migration.morphing.enclosure`.

It is the first process of its own mount and PID namespaces and dies with its parent, and with it its mounts, its loop
devices (they clear themselves), its nbdfuse servers and every program of the guest's. It answers one JSON request a
line on standard input with one JSON line on standard output; the end of input ends it.
"""

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from isthmus.control.errors import IsthmusError, NotSupported, StepFailed
from isthmus.migration.morphing import kernel_calls as kernel
from isthmus.migration.morphing import loops
from isthmus.migration.morphing.confinement import Confined
from isthmus.migration.morphing.contract import FileSystem
from isthmus.migration.morphing.esp import EspFiles
from isthmus.migration.morphing.nbd_files import NbdFile
from isthmus.migration.morphing.partitions import Partition, parse_signature, parse_table
from isthmus.migration.morphing.programs import GUEST_ENVIRONMENT, run_limited
from isthmus.migration.morphing.rooted_files import RootedFiles

_CHECK_SECONDS = 1800
_TOOL_SECONDS = 60
_MOST_PARTITIONS = 64
_LARGEST_READ = 1 << 20
_KNOWN_TYPES = ("ext2", "ext3", "ext4", "xfs", "btrfs")


class Enclosure:
    """All that was opened, in this process' namespaces."""

    def __init__(self, uris: Sequence[str]) -> None:
        """Open all disks and find what is on them."""
        place = Path(_free_place(uris))
        kernel.mount("tmpfs", str(place), "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=700,size=16m")
        self._root = str(place / "guest")
        self._tools = str(place / "tools")
        os.mkdir(self._root)
        os.mkdir(self._tools)
        self._disks = [NbdFile(place, uri, index) for index, uri in enumerate(uris)]
        # The guest's file systems are mounted where no nbdfuse lives. A killed nbdfuse that is the last of a mount
        # namespace unmounts what is in it before it closes /dev/fuse, and would wait for itself for ever: with it
        # every sync(2) of the machine. From here on its end cuts the connection, and the unmounting gets an error.
        kernel.leave_mount_namespace()
        self._loops: dict[str, loops.Loop] = {}
        self._ranges: dict[str, Partition] = {}
        self._mounted: list[str] = []
        self._files: RootedFiles | None = None
        self._file_systems: list[FileSystem] = []
        for index, disk in enumerate(self._disks):
            self._find_file_systems(index, disk.path)

    def file_systems(self) -> list[dict[str, Any]]:
        """Return all that was found, as JSON."""
        return [asdict(file_system) for file_system in self._file_systems]

    def check(self, device: str) -> None:
        """Repair what is safe to repair: ext only, xfs and btrfs replay their logs when mounted."""
        file_system = self._named(device)
        if not file_system.type.startswith("ext"):
            return
        result = run_limited(["e2fsck", "-p", device], _CHECK_SECONDS)
        # e2fsck(8): 1 and 2 mean repaired; 4 and above mean that a person must decide, or that it could not run.
        if result.status & ~3:
            raise StepFailed(f"{_place(file_system)} is damaged: run fsck in the source machine. {result.tail()}")

    def mount(self, device: str, mount_point: str, subvolume: str) -> None:
        """Mount below the guest's root, links in the mount point resolved inside it."""
        file_system = self._named(device)
        if file_system.type not in _KNOWN_TYPES:
            raise NotSupported(f"{_place(file_system)}: this worker's kernel does not mount {file_system.type}")
        target = self._root if mount_point == "/" else self._guest().ensure_directory(mount_point)
        self._mount_by_kernel(file_system, target, subvolume)
        self._mounted.append(target)
        if mount_point == "/":
            self._files = RootedFiles(self._root)
        index = self._file_systems.index(file_system)
        self._file_systems[index] = replace(file_system, mount_point=mount_point)

    def _mount_by_kernel(self, file_system: FileSystem, target: str, subvolume: str) -> None:
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        options = [f"subvol={subvolume}"] if subvolume else []
        if file_system.type == "xfs":
            options.append("nouuid")  # another disk with the same UUID, a clone's, may be mounted on this machine
        try:
            kernel.mount(file_system.device, target, file_system.type, flags, ",".join(options))
        except OSError as error:
            raise StepFailed(
                f"{_place(file_system)} cannot be mounted ({error.strerror}): run fsck in the source machine"
            ) from error

    def unmount_all(self) -> None:
        """Unmount in the reverse order of mounting."""
        if self._files:
            self._files.close()
            self._files = None
        while self._mounted:
            kernel.unmount(self._mounted[-1])
            self._mounted.pop()
        self._file_systems = [replace(file_system, mount_point=None) for file_system in self._file_systems]

    def read(self, path: str) -> str | None:
        """`GuestAccess.read`."""
        return self._guest().read(path)

    def write(self, path: str, content: str, mode: int) -> None:
        """`GuestAccess.write`."""
        self._guest().write(path, content, mode)

    def remove(self, path: str) -> bool:
        """`GuestAccess.remove`."""
        return self._guest().remove(path)

    def exists(self, path: str) -> bool:
        """`GuestAccess.exists`."""
        return self._guest().exists(path)

    def download(self, path: str, destination: str, largest: int) -> None:
        """`GuestAccess.download`."""
        self._guest().download(path, destination, largest)

    def upload(self, source: str, path: str) -> None:
        """`GuestAccess.upload`."""
        self._guest().upload(source, path)

    def list_directory(self, path: str) -> list[str]:
        """`GuestAccess.list_directory`."""
        return self._guest().list_directory(path)

    def link(self, path: str, target: str) -> None:
        """`GuestAccess.link`."""
        self._guest().link(path, target)

    def run(self, command: list[str], timeout_seconds: int, stdin: str) -> dict[str, Any]:
        """`GuestAccess.run`."""
        self._guest()
        # update-initramfs asks blkid what the root's type is: the guest sees its own disks, and no others.
        devices = [file_system.device for file_system in self._file_systems]
        confined = Confined(self._root, command, GUEST_ENVIRONMENT, timeout_seconds, devices)
        return asdict(run_limited(confined.argv(), timeout_seconds, stdin).answer())

    def run_before_mount(self, script: str, timeout_seconds: int) -> dict[str, Any]:
        """`GuestDisks.run_before_mount`: the worker's /usr read-only and the partitions' devices, nothing else."""
        devices = [file_system.device for file_system in self._file_systems]
        environment = {**GUEST_ENVIRONMENT, "ISTHMUS_DEVICES": " ".join(f"/dev/{os.path.basename(d)}" for d in devices)}
        confined = Confined(self._tools, ["/bin/sh", "-s"], environment, timeout_seconds, devices, host_tools=True)
        return asdict(run_limited(confined.argv(), timeout_seconds, script).answer())

    def read_disk(self, disk_index: int, offset: int, length: int) -> str:
        """`GuestDisks.read_disk`, as base64."""
        with open(self._disks[disk_index].path, "rb") as file:
            file.seek(offset)
            return base64.b64encode(file.read(min(length, _LARGEST_READ))).decode()

    def esp_exists(self, device: str, path: str) -> bool:
        """`GuestDisks.esp_exists`."""
        return EspFiles(device).exists(path)

    def esp_read(self, device: str, path: str) -> str | None:
        """`GuestDisks.esp_read`."""
        return EspFiles(device).read(path)

    def esp_write(self, device: str, path: str, content: str) -> None:
        """`GuestDisks.esp_write`."""
        EspFiles(device).write(path, content)

    def esp_copy(self, device: str, source: str, destination: str) -> None:
        """`GuestDisks.esp_copy`."""
        EspFiles(device).copy(source, destination)

    def close(self) -> None:
        """Unmount and flush everything."""
        self.unmount_all()
        for loop in self._loops.values():
            os.fsync(loop.descriptor)
            loop.close()
        self._loops.clear()
        for disk in self._disks:
            disk.flush()
            disk.close()

    def _guest(self) -> RootedFiles:
        if not self._files:
            raise StepFailed("the guest's root file system is not mounted")
        return self._files

    def _named(self, device: str) -> FileSystem:
        return next(file_system for file_system in self._file_systems if file_system.device == device)

    def _find_file_systems(self, index: int, path: str) -> None:
        size = os.stat(path).st_size
        table = run_limited(["sfdisk", "--json", path], _TOOL_SECONDS)
        partitions = parse_table(table.output, size) if table.status == 0 else (Partition(0, 0, size),)
        for partition in partitions[:_MOST_PARTITIONS]:
            loop = loops.attach(path, partition.offset, partition.size)
            # Low-level probing (-p) reads the device itself, never a cache of the host's.
            signature = parse_signature(run_limited(["blkid", "-p", "-o", "export", loop.path], _TOOL_SECONDS).output)
            if not signature.type:
                loop.close()
                continue
            self._loops[loop.path] = loop
            self._file_systems.append(
                FileSystem(loop.path, signature.type, signature.uuid, signature.label, index, partition.number)
            )


def _free_place(uris: Sequence[str]) -> str:
    """Return a directory that this mount namespace can cover without hiding an NBD server's socket."""
    return next(place for place in ("/mnt", "/media", "/srv", "/opt") if not any(f"={place}/" in uri for uri in uris))


def _place(file_system: FileSystem) -> str:
    return f"The file system on disk {file_system.disk_index + 1} partition {file_system.partition}"


def serve(open_enclosure: Callable[[Sequence[str]], Enclosure]) -> None:
    """Answer requests until the end of input. The first one opens the disks."""
    enclosure: Enclosure | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["call"] == "open":
                enclosure, answer = open_enclosure(request["arguments"]["uris"]), None
            else:
                answer = getattr(enclosure, request["call"])(**request["arguments"])
            reply: dict[str, Any] = {"answer": answer}
        except IsthmusError as error:
            reply = {"error": error.code, "message": error.message}
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reply = {"error": StepFailed.code, "message": f"{request['call']}: {error}"}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a terminal's Ctrl-C reaches it too
    serve(Enclosure)
