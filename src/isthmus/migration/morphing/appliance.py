"""The way in by libguestfs: the disks are opened by a small virtual machine, and so are all the guest's programs.

The worker's kernel never sees the guest's file systems. libguestfs' recovery process stops the appliance when the
worker is killed; a watchdog here stops it when a call takes too long or somebody cancels.
"""

import base64
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import nbd

from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.migration.morphing.acceleration import kvm_works
from isthmus.migration.morphing.appliance_devices import kernel_names
from isthmus.migration.morphing.appliance_files import ensure_directory, give_label
from isthmus.migration.morphing.contract import LARGEST_ESP_FILE, CommandResult, FileSystem, GuestDisks
from isthmus.migration.morphing.nbd_address import parse as parse_address
from isthmus.migration.morphing.programs import GUEST_ENVIRONMENT
from isthmus.migration.morphing.shell_wrapping import unwrap, wrap
from isthmus.migration.reporting import Report

_MEMORY_MIB = 768
_LAUNCH_SECONDS = 300
_CALL_SECONDS = 600
_CHECK_SECONDS = 3600
_POLL_SECONDS = 0.5
_LARGEST_FILE = 4 << 20
_LARGEST_READ = 1 << 20
_MOST_NAMES = 100_000
_ESP = "/run/isthmus-esp"
# What a program of the guest's left running would keep the guest's root from being unmounted.
_END_GUEST_PROCESSES = (
    'for p in /proc/[0-9]*; do [ "$(readlink $p/root)" = /sysroot ] && kill -9 ${p#/proc/}; done; '
    "for d in dev/pts dev proc sys; do while umount /sysroot/$d 2>/dev/null; do :; done; done; exit 0"
)

Answer = TypeVar("Answer")


class ApplianceDisks(GuestDisks):
    """Disks opened in a libguestfs appliance."""

    def __init__(self, uris: Sequence[str], report: Report, luks_keys: Sequence[str] = ()) -> None:
        """Nothing is started before the `with` statement. Raises `NotSupported` for a URI that libguestfs lacks."""
        self._luks_keys = tuple(luks_keys)
        self._uris = list(uris)
        self._addresses = [parse_address(uri) for uri in uris]
        self._report = report
        self._mounts: dict[str, str] = {}
        self._found: list[FileSystem] = []
        self._g: Any = None

    def __enter__(self) -> Self:
        import guestfs  # noqa: PLC0415 - libguestfs is large, and a worker that morphs no guest does without it

        # close_on_exit=False: the handle is closed here, and never by an interpreter that is going down.
        self._g = guestfs.GuestFS(python_return_dict=True, close_on_exit=False)
        try:
            self._launch()
            self._found = self._find_file_systems()
        except BaseException:
            self._g.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.unmount_all()
                self._call(self._g.shutdown)
        finally:
            self._g.close()

    def read(self, path: str) -> str | None:
        """As `GuestDisks.read` has it."""
        if not self._call(self._g.is_file, path, followsymlinks=True):
            if self._call(self._g.exists, path) and not self._call(self._g.is_symlink, path):
                raise StepFailed(f"{path} in the guest is not a regular file: mend it in the source machine")
            return None
        if self._call(self._g.filesize, path) > _LARGEST_FILE:
            raise StepFailed(f"{path} in the guest is larger than 4 MiB: make it smaller in the source machine")
        content: bytes = self._call(self._g.read_file, path)
        return content.decode(errors="surrogateescape")

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """As `GuestDisks.write` has it."""
        if self._call(self._g.is_dir, path):
            raise StepFailed(
                f"{path} in the guest is a directory where a file is needed: mend it in the source machine"
            )
        directory, _, name = path.rpartition("/")
        ensure_directory(self._call, self._g, directory)
        temporary = f"{directory}/.{name}.isthmus"
        owner, group, kept_mode = 0, 0, mode
        if self._call(self._g.is_file, path):
            found = self._call(self._g.lstatns, path)
            owner, group, kept_mode = found["st_uid"], found["st_gid"], found["st_mode"] & 0o7777
        self._call(self._g.rm_f, temporary)
        self._call(self._g.write, temporary, content.encode(errors="surrogateescape"))
        self._call(self._g.chown, owner, group, temporary)
        self._call(self._g.chmod, kept_mode, temporary)
        give_label(self._call, self._g, temporary, path, directory)
        self._call(self._g.sync)
        self._call(self._g.rename, temporary, path)

    def remove(self, path: str) -> bool:
        """As `GuestDisks.remove` has it."""
        if not self.exists(path):
            return False
        self._call(self._g.rm, path)
        return True

    def exists(self, path: str) -> bool:
        """As `GuestDisks.exists` has it."""
        return bool(self._call(self._g.exists, path) or self._call(self._g.is_symlink, path))

    def download(self, path: str, destination: Path, largest: int) -> None:
        """As `GuestDisks.download` has it."""
        if not self._call(self._g.is_file, path) or self._call(self._g.filesize, path) > largest:
            raise StepFailed(f"{path} in the guest is not a regular file of at most {largest} bytes")
        self._call(self._g.download, path, str(destination))

    def upload(self, source: Path, path: str) -> None:
        """As `GuestDisks.upload` has it."""
        directory, _, name = path.rpartition("/")
        ensure_directory(self._call, self._g, directory)
        temporary = f"{directory}/.{name}.isthmus"
        self._call(self._g.upload, str(source), temporary)
        self._call(self._g.sync)
        self._call(self._g.rename, temporary, path)

    def list_directory(self, path: str) -> Sequence[str]:
        """As `GuestDisks.list_directory` has it."""
        if not self._call(self._g.is_dir, path, followsymlinks=True):
            return []
        names = list(self._call(self._g.ls, path))
        if len(names) > _MOST_NAMES:
            raise StepFailed(f"{path} in the guest holds more than {_MOST_NAMES} names: clean it up there")
        return sorted(names)

    def link(self, path: str, target: str) -> None:
        """As `GuestDisks.link` has it."""
        ensure_directory(self._call, self._g, path.rpartition("/")[0])
        temporary = f"{path}.isthmus"
        self._call(self._g.rm_f, temporary)
        self._call(self._g.ln_s, target, temporary)
        self._call(self._g.rename, temporary, path)

    def run(self, command: Sequence[str], *, timeout_seconds: int, stdin: str = "") -> CommandResult:
        """As `GuestDisks.run` has it."""
        environment = [f"{key}={value}" for key, value in GUEST_ENVIRONMENT.items()]
        script = wrap(["env", "-i", *environment, *command], timeout_seconds, stdin)
        begun = time.monotonic()
        output = self._call(self._g.sh, script, within=timeout_seconds + 60)
        self._call(self._g.debug, "sh", [_END_GUEST_PROCESSES])
        return unwrap(output, time_is_over=time.monotonic() - begun >= timeout_seconds)

    def run_before_mount(self, script: str, *, timeout_seconds: int) -> CommandResult:
        """As `GuestDisks.run_before_mount` has it."""
        devices = " ".join(self._kernel_names.values())
        wrapped = wrap(["env", f"ISTHMUS_DEVICES={devices}", "/bin/sh", "-s"], timeout_seconds, script)
        begun = time.monotonic()
        output = self._call(self._g.debug, "sh", [wrapped], within=timeout_seconds + 60)
        return unwrap(output, time_is_over=time.monotonic() - begun >= timeout_seconds)

    def file_systems(self) -> Sequence[FileSystem]:
        """As `GuestDisks.file_systems` has it."""
        return [replace(found, mount_point=self._mounts.get(found.device)) for found in self._found]

    def check(self, file_system: FileSystem) -> None:
        """As `GuestDisks.check` has it."""
        if not file_system.type.startswith("ext"):
            return
        try:
            self._call(self._g.e2fsck, file_system.device, correct=True, within=_CHECK_SECONDS)
        except StepFailed as error:
            raise StepFailed(f"{_place(file_system)} is damaged: run fsck in the source machine. {error}") from error

    def mount(self, file_system: FileSystem, mount_point: str, *, subvolume: str = "") -> None:
        """As `GuestDisks.mount` has it."""
        options = "nodev,nosuid" + (f",subvol={subvolume}" if subvolume else "")
        try:
            if mount_point != "/":
                self._call(self._g.mkdir_p, mount_point)
            self._call(self._g.mount_options, options, file_system.device, mount_point)
        except StepFailed as error:
            raise StepFailed(
                f"{_place(file_system)} cannot be mounted: run fsck in the source machine. {error}"
            ) from error
        self._mounts[file_system.device] = mount_point

    def unmount_all(self) -> None:
        """As `GuestDisks.unmount_all` has it."""
        self._call(self._g.umount_all)
        self._mounts.clear()

    def read_disk(self, disk_index: int, offset: int, length: int) -> bytes:
        """As `GuestDisks.read_disk` has it."""
        device = self._call(self._g.list_devices)[disk_index]
        return bytes(self._call(self._g.pread_device, device, min(length, _LARGEST_READ), offset))

    def esp_exists(self, file_system: FileSystem, path: str) -> bool:
        """As `GuestDisks.esp_exists` has it."""
        return self._in_esp(file_system, f"test -e {shlex.quote(_ESP + path)}").status == 0

    def esp_read(self, file_system: FileSystem, path: str) -> str | None:
        """As `GuestDisks.esp_read` has it."""
        place = shlex.quote(_ESP + path)
        result = self._in_esp(file_system, f"test -f {place} && head -c {LARGEST_ESP_FILE + 1} {place} | base64")
        if result.status:
            return None
        content = base64.b64decode("".join(result.output.split()))
        if len(content) > LARGEST_ESP_FILE:
            raise StepFailed(f"{path} in the EFI system partition is larger than 48 KiB: make it smaller at the source")
        return content.decode(errors="surrogateescape")

    def esp_write(self, file_system: FileSystem, path: str, content: str) -> None:
        """As `GuestDisks.esp_write` has it."""
        encoded = base64.b64encode(content.encode(errors="surrogateescape")).decode()
        result = self._in_esp(file_system, f"echo {encoded} | base64 -d > {shlex.quote(_ESP + path)}")
        if result.status:
            raise StepFailed(f"{path} could not be written to the EFI system partition: {result.output.strip()}")

    def esp_copy(self, file_system: FileSystem, source: str, destination: str) -> None:
        """As `GuestDisks.esp_copy` has it."""
        target = _ESP + destination
        command = (
            f"mkdir -p {shlex.quote(os.path.dirname(target))} && cp {shlex.quote(_ESP + source)} {shlex.quote(target)}"
        )
        result = self._in_esp(file_system, command)
        if result.status:
            raise StepFailed(f"{destination} could not be written to the EFI system partition: {result.output.strip()}")

    @cached_property
    def _kernel_names(self) -> Mapping[str, str]:
        return kernel_names(self._call, self._g, self._found)

    def _in_esp(self, file_system: FileSystem, command: str) -> CommandResult:
        device = shlex.quote(self._kernel_names[file_system.device])
        script = (
            f"mkdir -p {_ESP} && mount -t vfat -o nodev,nosuid,noexec {device} {_ESP} || exit 90\n"
            f"{command}\nstatus=$?\numount {_ESP} || exit 91\nexit $status\n"
        )
        result = self.run_before_mount(script, timeout_seconds=_CALL_SECONDS)
        if result.status in (90, 91):
            raise StepFailed(f"{_place(file_system)} (EFI) cannot be mounted: {result.output.strip()}")
        return result

    def _launch(self) -> None:
        self._g.set_backend("direct")
        self._g.set_backend_setting("force_kvm" if kvm_works() else "force_tcg", "1")
        self._g.set_memsize(_MEMORY_MIB)
        self._g.set_network(False)
        for uri, address in zip(self._uris, self._addresses, strict=True):
            _see_server(uri)
            self._g.add_drive_opts(address.export, format="raw", protocol="nbd", server=[address.server])
        try:
            self._call(self._g.launch, within=_LAUNCH_SECONDS)
        except StepFailed as error:
            raise Unavailable(f"the libguestfs appliance did not start ({error}): run libguestfs-test-tool") from error

    def _find_file_systems(self) -> list[FileSystem]:
        """Return what is on disks, partitions and logical volumes, and inside the LUKS volumes that a key opens."""
        found = self._list_file_systems()
        if self._luks_keys and any(each.type == "crypto_LUKS" for each in found):
            for number, volume in enumerate(each for each in found if each.type == "crypto_LUKS"):
                self._open_luks(volume, f"isthmus{number}")
            self._call(self._g.lvm_scan, True)
            found = self._list_file_systems()
        return found

    def _open_luks(self, volume: FileSystem, name: str) -> None:
        # libguestfs hands the key to cryptsetup inside the appliance, in a file of its memory: never in an argv.
        for key in self._luks_keys:
            try:
                self._call(self._g.cryptsetup_open, volume.device, key, name)
            except StepFailed:
                continue  # perhaps another volume's key
            return
        raise StepFailed(
            f"none of the given keys opens the LUKS volume on {_location(volume)}: correct luks_keys, or deploy with "
            "skip_os_morphing"
        )

    def _list_file_systems(self) -> list[FileSystem]:
        devices = list(self._call(self._g.list_devices))
        partitions = set(self._call(self._g.list_partitions))
        kinds = dict(self._call(self._g.list_filesystems))
        # libguestfs leaves out what only holds others (LUKS, parts of volume groups), and what was opened by a key.
        for device in (*devices, *partitions, *self._call(self._g.list_dm_devices)):
            if kinds.get(device, "unknown") == "unknown":
                kinds[device] = self._call(self._g.vfs_type, device)
        found = []
        for device, kind in kinds.items():
            if device.startswith("btrfsvol:") or kind in ("unknown", ""):
                continue
            disk, number = device, 0
            if device in partitions:
                disk = self._call(self._g.part_to_dev, device)
                number = self._call(self._g.part_to_partnum, device)
            index = devices.index(disk) if disk in devices else -1
            uuid, label = self._call(self._g.vfs_uuid, device), self._call(self._g.vfs_label, device)
            found.append(FileSystem(device, kind, uuid, label, index, number))
        return found

    def _call(
        self, function: Callable[..., Answer], *arguments: Any, within: float = _CALL_SECONDS, **options: Any
    ) -> Answer:
        """Call libguestfs; `StepFailed` for its errors, `Cancelled` or `StepFailed` when the watchdog stopped it."""
        with self._watched(within) as stopped:
            try:
                return function(*arguments, **options)
            except RuntimeError as error:
                if stopped:
                    raise stopped[0] from error
                raise StepFailed(str(error)) from error

    @contextmanager
    def _watched(self, seconds: float) -> Iterator[list[IsthmusError]]:
        """Kill the appliance when time is over or somebody cancels; the list then holds the reason."""
        stopped: list[IsthmusError] = []
        ended = threading.Event()

        def watch() -> None:
            deadline = time.monotonic() + seconds
            while not ended.wait(_POLL_SECONDS):
                try:
                    self._report.check()
                except IsthmusError as error:
                    stopped.append(error)
                if not stopped and time.monotonic() > deadline:
                    stopped.append(StepFailed(f"the appliance did not answer in {seconds:.0f} s and was stopped"))
                if stopped:
                    self._kill()
                    break
            # Once may not do: a program that is just being started has no command line yet to tell it by.
            while not ended.wait(_POLL_SECONDS):
                self._kill()

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield stopped
        finally:
            ended.set()
            watcher.join()

    def _kill(self) -> None:
        """Kill the appliance, told from other appliances of this process by its disks."""
        import psutil  # noqa: PLC0415 - a worker that kills no appliance needs none

        # Not by get_pid: libguestfs serialises calls on one handle, and this runs while one hangs.
        own = self._addresses[0].server.removeprefix("unix:")
        for child in psutil.Process().children():
            try:
                arguments = " ".join(child.cmdline())
            except psutil.Error:
                continue
            if "guestfs" in arguments and own in arguments and f"exportname={self._addresses[0].export}" in arguments:
                child.kill()


def _see_server(uri: str) -> None:
    """Raise `Unavailable` unless the NBD server answers: QEMU would only say that the appliance did not start."""
    handle = nbd.NBD()
    try:
        handle.connect_uri(uri)
        handle.shutdown()
    except nbd.Error as error:
        raise Unavailable(f"the disk at {uri} does not answer over NBD: {error.string}") from error


def _place(file_system: FileSystem) -> str:
    return f"The file system on {_location(file_system)}"


def _location(file_system: FileSystem) -> str:
    if file_system.disk_index < 0:
        return file_system.device
    return f"disk {file_system.disk_index + 1} partition {file_system.partition}"
