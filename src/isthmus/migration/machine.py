"""Facts about a virtual machine as a provider sees it, free of any one cloud's words."""

from dataclasses import dataclass, field
from enum import StrEnum


class Firmware(StrEnum):
    """What starts the machine. The values are Coriolis' `firmware_type`."""

    BIOS = "BIOS"
    EFI = "EFI"


class PowerState(StrEnum):
    """Whether the guest's processors run."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"


@dataclass(frozen=True)
class Disk:
    """One disk of a source machine. `id` is stable for the machine's life (libvirt: the target name, "vda").

    `can_track_changes` is true where the source cloud itself can say which blocks changed (dirty bitmaps, CBT);
    otherwise increments come from the stored hash map. `encrypted`: the hypervisor encrypts the image, so what is read
    is plain. `backing_files` is the length of the chain of images below the disk's own.
    """

    id: str
    size_bytes: int
    format: str
    storage_backend_identifier: str
    bus: str
    can_track_changes: bool
    allocated_bytes: int | None = None
    shareable: bool = False
    encrypted: bool = False
    backing_files: int = 0


@dataclass(frozen=True)
class Nic:
    """One network interface. `network_name` is what a network map's keys refer to."""

    id: str
    mac_address: str
    network_name: str
    model: str = ""
    ip_addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """A virtual machine: the input of a plan. Sizes in bytes, memory in MiB.

    `architecture` is the kernel's name for it ("x86_64"); `machine_type` is the source's chipset ("pc", "q35").
    `os_distribution` and `os_version` are ID and VERSION_ID of os-release, "" where the cloud does not know them.
    `guest_agent` tells whether one answers, None where that cannot be told. `snapshots` are the user's own.
    `host_devices` are devices of the host that the machine holds, as the cloud calls them.
    """

    id: str
    name: str
    num_cpu: int
    memory_mb: int
    firmware: Firmware
    power_state: PowerState
    os_type: str = "linux"
    secure_boot: bool = False
    architecture: str = "x86_64"
    machine_type: str = ""
    description: str = ""
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    os_distribution: str = ""
    os_version: str = ""
    guest_agent: bool | None = None
    snapshots: int = 0
    tpm: bool = False
    host_devices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Network:
    """A network that a machine can be attached to."""

    id: str
    name: str


@dataclass(frozen=True)
class StorageBackend:
    """A place for disks: a pool, a datastore, a volume type. `free_bytes` is None where the cloud does not say."""

    id: str
    name: str
    free_bytes: int | None = None


@dataclass(frozen=True)
class Capacity:
    """What a cloud can take of one more machine. None, or nothing, is not known.

    `memory_mb` is what the largest host has, `free_memory_mb` what is free there now. `machines` are the names that are
    taken, `mac_addresses` those in use, each with the machine that has it.
    """

    max_cpu: int | None = None
    memory_mb: int | None = None
    free_memory_mb: int | None = None
    firmwares: tuple[Firmware, ...] | None = None
    machines: tuple[str, ...] = ()
    mac_addresses: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class EnvironmentOption:
    """One key of a source or destination environment with the values that the cloud offers for it now."""

    name: str
    values: tuple[object, ...] = ()
    config_default: object | None = None


@dataclass(frozen=True)
class NicMapping:
    """Where a source NIC goes. The MAC address is kept."""

    nic: Nic
    destination_network: str


@dataclass(frozen=True)
class DiskMapping:
    """Where a source disk goes: a storage back end of the destination."""

    disk: Disk
    destination_storage: str


@dataclass(frozen=True)
class DestinationDisk:
    """A disk that a destination made for us. `volume_id` is the destination's own name for it.

    `is_zero` is true only while the disk is known to read as zeros all over (just made, never written).
    """

    disk_id: str
    volume_id: str
    size_bytes: int
    format: str
    storage: str
    is_zero: bool = False


class ProbeType(StrEnum):
    """How a deployed machine proves that it lives."""

    GUEST_AGENT = "guest_agent"
    CONSOLE = "console"
    TCP = "tcp"
    NONE = "none"


@dataclass(frozen=True)
class BootProbe:
    """What must be seen before a deployment is COMPLETED, and within how many seconds of the first start.

    CONSOLE: `marker` is a regular expression (`patterns`) searched in each console line. TCP: `port` answers on one of
    the machine's addresses (`address` overrides them). GUEST_AGENT: the agent answers a ping.
    """

    type: ProbeType = ProbeType.NONE
    marker: str = "login:"
    port: int = 22
    address: str | None = None
    timeout_seconds: int = 600


@dataclass(frozen=True)
class DeployedMachine:
    """The machine that a deployment made at the destination; `id` is the destination's own name for it."""

    id: str
    name: str
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProbeResult:
    """What the probe saw. `seconds` counts from the machine's start; `console_tail` are the console's last lines.

    `machine` is the machine under the name that it got by its first start, where a cloud names it only then.
    """

    passed: bool
    saw: str
    seconds: float
    console_tail: tuple[str, ...] = ()
    machine: DeployedMachine | None = None
