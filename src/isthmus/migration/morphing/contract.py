"""What a morpher is asked, what it answers, and the two ways into a guest's disks.

A way in (`GuestAccess`) gives one contract over either the libguestfs appliance or the worker's own kernel; a morpher
(one module for each OS family, entry point group `isthmus.migration.morphers`) edits the guest through it only.
Every edit is idempotent: a morphing that was killed is simply run again on the same disks.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from isthmus.migration.machine import Firmware
from isthmus.migration.model import ScriptPhase
from isthmus.migration.reporting import Report

LARGEST_ESP_FILE = 48 << 10
"""Bytes of the largest file of an EFI system partition that is read or written as text."""


class WayIn(StrEnum):
    """How the guest's file systems are reached."""

    APPLIANCE = "appliance"
    WORKER_KERNEL = "worker-kernel"


@dataclass(frozen=True)
class NicPlan:
    """One NIC of the deployed machine. `dhcp` false keeps the guest's static addresses, tied to the MAC address."""

    mac_address: str
    dhcp: bool = False


@dataclass(frozen=True)
class UserScript:
    """A script of the user's: before mounting (PRE_OS_MOUNT), in the guest's root (POST_OS_MOUNT) or at first boot."""

    phase: ScriptPhase
    payload: str


@dataclass(frozen=True)
class Target:
    """The platform that the guest must boot on.

    `disk_bus`: "virtio", "scsi" (virtio-scsi), "sata"; `nic_model`: "virtio", "e1000e"; `console`: the kernel's name of
    the serial console, "ttyS0". `platform` is the provider's name ("libvirt").
    """

    platform: str
    disk_bus: str
    nic_model: str
    firmware: Firmware
    console: str = "ttyS0"


@dataclass(frozen=True)
class MorphRequest:
    """Morph one machine's disks, given in the machine's order as NBD URIs (the boot disk first).

    `luks_keys` are passphrases, each tried on every LUKS volume; they live in this process only. `windows_drivers` is a
    directory or an ISO image with virtio-win's layout, `cloudbase_init` its MSI: both on the worker, for Windows only;
    None takes the worker's own (`windows_drivers`).
    """

    disk_uris: tuple[str, ...]
    target: Target
    nics: tuple[NicPlan, ...]
    scripts: tuple[UserScript, ...] = ()
    way_in: WayIn = WayIn.APPLIANCE
    script_timeout_seconds: int = 600
    luks_keys: tuple[str, ...] = field(default=(), repr=False)
    windows_drivers: Path | None = None
    cloudbase_init: Path | None = None


@dataclass(frozen=True)
class GuestOS:
    """What was found: `family` "debian", `distribution` "debian" or "ubuntu", `version` "12".

    An empty `architecture` means that it could not be told, or that no program of the guest's needs to run.
    """

    family: str
    distribution: str
    version: str
    product_name: str
    architecture: str


@dataclass(frozen=True)
class MorphReport:
    """What was found and what was changed, one line for each change; an empty list means that nothing was needed."""

    os: GuestOS
    changes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class CommandResult:
    """What a command in the guest's root answered."""

    status: int
    output: str


class GuestAccess(ABC):
    """The guest's mounted root. Paths are absolute in the guest; links are resolved inside it, never on the host."""

    @abstractmethod
    def read(self, path: str) -> str | None:
        """Return a text file's content, None if there is no such file. Files over 4 MiB raise StepFailed."""

    @abstractmethod
    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """Replace a file atomically, keeping its owner if it exists; make missing directories."""

    @abstractmethod
    def remove(self, path: str) -> bool:
        """Remove a file or link. Return whether it was there."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Return whether the path exists in the guest."""

    @abstractmethod
    def download(self, path: str, destination: Path, largest: int) -> None:
        """Copy a file out of the guest, as it is. StepFailed if it is missing or larger than `largest` bytes."""

    @abstractmethod
    def upload(self, source: Path, path: str) -> None:
        """Put a file into the guest, atomically, byte for byte; make missing directories."""

    @abstractmethod
    def list_directory(self, path: str) -> Sequence[str]:
        """Return the sorted names in a directory; empty if it is missing."""

    @abstractmethod
    def link(self, path: str, target: str) -> None:
        """Make or replace a symbolic link at `path`."""

    @abstractmethod
    def run(self, command: Sequence[str], *, timeout_seconds: int, stdin: str = "") -> CommandResult:
        """Run a program of the guest's, without network, in its root. Does not raise for a non-zero status."""

    @abstractmethod
    def file_systems(self) -> Sequence["FileSystem"]:
        """Return all file systems and swaps found on the disks."""


@dataclass(frozen=True)
class FileSystem:
    """One file system on the guest's disks. `device` is its name inside this way in; `uuid` may be empty.

    `partition` counts from 1; `disk_index` is the disk's place in the request.
    """

    device: str
    type: str
    uuid: str
    label: str
    disk_index: int
    partition: int
    mount_point: str | None = None


class GuestDisks(GuestAccess):
    """A way in from the opening of the disks to their closing; the guest's root is what has been mounted at "/".

    A context manager: leaving it without an error unmounts and flushes all that was written; leaving it with one, or a
    kill at any time, leaves no mount, process or device behind. A cancel reaches a call within seconds (`Cancelled`).
    """

    @abstractmethod
    def __enter__(self) -> Self:
        """Open the disks. Raises `Unavailable` if an NBD server does not answer or the way in does not start."""

    @abstractmethod
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Unmount, flush and give all back. Raises `StepFailed` if what was written could not be flushed."""

    @abstractmethod
    def check(self, file_system: "FileSystem") -> None:
        """Replay the journal and repair what is safe, before mounting. Raises `StepFailed` for a corrupt one."""

    @abstractmethod
    def mount(self, file_system: "FileSystem", mount_point: str, *, subvolume: str = "") -> None:
        """Mount below the guest's root, "/" first, without device nodes. Raises `StepFailed` if it cannot be."""

    @abstractmethod
    def unmount_all(self) -> None:
        """Unmount all that was mounted."""

    @abstractmethod
    def run_before_mount(self, script: str, *, timeout_seconds: int) -> CommandResult:
        """Run a shell script beside the guest: it sees the disks' partitions as block devices, not the host."""

    @abstractmethod
    def read_disk(self, disk_index: int, offset: int, length: int) -> bytes:
        """Return at most 1 MiB of a disk, as it is on the disk."""

    @abstractmethod
    def esp_exists(self, file_system: "FileSystem", path: str) -> bool:
        """Return whether the EFI system partition (type "vfat") holds this file."""

    @abstractmethod
    def esp_read(self, file_system: "FileSystem", path: str) -> str | None:
        """Return a text file of the EFI system partition, None if it is not there; over 48 KiB StepFailed."""

    @abstractmethod
    def esp_write(self, file_system: "FileSystem", path: str, content: str) -> None:
        """Replace a file of at most 48 KiB in the EFI system partition. Raises `StepFailed`."""

    @abstractmethod
    def esp_copy(self, file_system: "FileSystem", source: str, destination: str) -> None:
        """Copy a file within the EFI system partition, making directories; replaces what is there."""


class Morpher(ABC):
    """One OS family."""

    family: ClassVar[str]

    @classmethod
    @abstractmethod
    def detect(cls, guest: GuestAccess) -> GuestOS | None:
        """Return the guest's OS if it belongs to this family and is supported; None if it is another family's.

        Raises `NotSupported`, naming `skip_os_morphing` as the way on, for a release of this family we do not support.
        """

    @classmethod
    def supports(cls, distribution: str, version: str) -> bool | None:  # noqa: ARG003 - for morphers that can tell
        """Tell from os-release's ID and VERSION_ID alone whether `detect` would take it; None: another family's."""
        return None

    @abstractmethod
    def morph(self, guest: GuestDisks, request: MorphRequest, report: Report) -> Sequence[str]:
        """Change the guest so that it boots on `request.target`; return one line for each change."""
