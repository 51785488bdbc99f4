"""What stands in the way of a migration, told before it is begun: pure, from facts of both ends.

A *critical* concern would make the migration fail as it was asked for. A *warning* is about something that works and
that people should know before, an *information* about something that changes how it works. Codes are stable, each with
its remedy; docs/assessments.md has the same table.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.migration.machine import Capacity, Firmware, Machine, Network, PowerState, StorageBackend
from isthmus.migration.planning.mapping import map_disks


class Severity(StrEnum):
    """How much a concern matters; see the module."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFORMATION = "information"


class Code(StrEnum):
    """What a concern is about."""

    MACHINE_UNREADABLE = "MACHINE_UNREADABLE"
    NO_DISK = "NO_DISK"
    SHARED_DISK = "SHARED_DISK"
    SOURCE_REFUSES = "SOURCE_REFUSES"
    OS_UNSUPPORTED = "OS_UNSUPPORTED"
    UNMAPPED_NETWORK = "UNMAPPED_NETWORK"
    UNKNOWN_NETWORK = "UNKNOWN_NETWORK"
    UNMAPPED_STORAGE = "UNMAPPED_STORAGE"
    TOO_LITTLE_SPACE = "TOO_LITTLE_SPACE"
    TOO_LITTLE_SPACE_TOGETHER = "TOO_LITTLE_SPACE_TOGETHER"
    UEFI_TO_BIOS = "UEFI_TO_BIOS"
    INSTANCE_TOO_LARGE = "INSTANCE_TOO_LARGE"
    DESTINATION_REFUSES = "DESTINATION_REFUSES"
    LITTLE_SPACE_FOR_CLONES = "LITTLE_SPACE_FOR_CLONES"
    HOST_MEMORY_SHORT = "HOST_MEMORY_SHORT"
    DUPLICATE_MAC = "DUPLICATE_MAC"
    NO_BITMAP = "NO_BITMAP"
    ENCRYPTED_DISK = "ENCRYPTED_DISK"
    HOST_DEVICE = "HOST_DEVICE"
    TPM = "TPM"
    SNAPSHOTS = "SNAPSHOTS"
    SNAPSHOT_CHAIN = "SNAPSHOT_CHAIN"
    OS_UNKNOWN = "OS_UNKNOWN"
    GUEST_AGENT_ABSENT = "GUEST_AGENT_ABSENT"
    POWERED_OFF = "POWERED_OFF"
    NAME_TAKEN = "NAME_TAKEN"


_WARNINGS = frozenset(
    {
        Code.LITTLE_SPACE_FOR_CLONES,
        Code.HOST_MEMORY_SHORT,
        Code.DUPLICATE_MAC,
        Code.NO_BITMAP,
        Code.ENCRYPTED_DISK,
        Code.HOST_DEVICE,
        Code.TPM,
        Code.SNAPSHOTS,
    }
)
_INFORMATION = frozenset(
    {Code.SNAPSHOT_CHAIN, Code.OS_UNKNOWN, Code.GUEST_AGENT_ABSENT, Code.POWERED_OFF, Code.NAME_TAKEN}
)


REMEDIES: Mapping[Code, str] = {
    Code.MACHINE_UNREADABLE: "correct the name, or the machine's definition",
    Code.NO_DISK: "leave it out",
    Code.SHARED_DISK: "detach it, or end the sharing (a share can take its place)",
    Code.SOURCE_REFUSES: "do what the message says",
    Code.OS_UNSUPPORTED: "prepare the guest by hand and use skip_os_morphing",
    Code.UNMAPPED_NETWORK: "map it to a network of the destination",
    Code.UNKNOWN_NETWORK: "correct the map, or make the network",
    Code.UNMAPPED_STORAGE: "set storage_mappings.default, or map the disk",
    Code.TOO_LITTLE_SPACE: "make room, map them elsewhere, or allow_overcommit",
    Code.TOO_LITTLE_SPACE_TOGETHER: "make room, map some elsewhere, or migrate in waves",
    Code.UEFI_TO_BIOS: "install the destination's UEFI firmware",
    Code.INSTANCE_TOO_LARGE: "make the machine smaller, or choose another destination",
    Code.DESTINATION_REFUSES: "do what the message says",
    Code.LITTLE_SPACE_FOR_CLONES: "make room, or deploy with clone_disks false",
    Code.HOST_MEMORY_SHORT: "stop something there before the deployment",
    Code.DUPLICATE_MAC: "keep the networks apart, or change one",
    Code.NO_BITMAP: "convert the disk to qcow2 for a shorter down time",
    Code.ENCRYPTED_DISK: "encrypt the destination's storage",
    Code.HOST_DEVICE: "see that it boots without, or give it one at the destination",
    Code.TPM: "have recovery keys ready, or release the disks from it",
    Code.SNAPSHOTS: "delete those that nobody needs",
    Code.SNAPSHOT_CHAIN: "nothing: it arrives as one whole image",
    Code.OS_UNKNOWN: "install the guest agent, or name the system in the metadata",
    Code.GUEST_AGENT_ABSENT: "install the guest agent if that matters",
    Code.POWERED_OFF: "nothing, or leave it out",
    Code.NAME_TAKEN: "set name_suffix; without, a suffix is chosen",
}
"""What to do about each, the same for every object."""


def severity_of(code: Code) -> Severity:
    """Return how much a concern of this code matters, always the same."""
    if code in _WARNINGS:
        return Severity.WARNING
    return Severity.INFORMATION if code in _INFORMATION else Severity.CRITICAL


@dataclass(frozen=True)
class Concern:
    """One thing in the way. `message` names the object, `remedy` tells what to do."""

    code: Code
    severity: Severity
    message: str
    remedy: str


@dataclass(frozen=True)
class Observed:
    """One machine as its source showed it. `refusal` is why the source would not replicate it.

    `os_supported` tells whether a morpher takes its guest, None if it is not known what the guest is.
    """

    instance: str
    machine: Machine | None = None
    refusal: str | None = None
    os_supported: bool | None = None


@dataclass(frozen=True)
class Arrival:
    """The destination as it showed itself. `refusals` say by instance why it would not take a machine."""

    networks: tuple[Network, ...] = ()
    storage: tuple[StorageBackend, ...] = ()
    default_storage: str | None = None
    capacity: Capacity = field(default_factory=Capacity)
    refusals: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Wishes:
    """How the migration would be asked for, as in a transfer."""

    network_map: Mapping[str, Any] = field(default_factory=dict)
    storage_mappings: Mapping[str, Any] = field(default_factory=dict)
    destination_environment: Mapping[str, Any] = field(default_factory=dict)
    skip_os_morphing: bool = False
    clone_disks: bool = True


def concerns(observed: Observed, arrival: Arrival | None, wishes: Wishes) -> tuple[Concern, ...]:
    """Return all concerns about one machine, the gravest first. Without a destination those of the source only."""
    machine = observed.machine
    if machine is None:
        reason = observed.refusal or "the source did not tell why"
        return (_concern(Code.MACHINE_UNREADABLE, f"{observed.instance} cannot be read: {reason}"),)
    found = [*_of_disks(machine), *_of_guest(observed, machine, wishes), *_of_the_rest(machine)]
    found += _unless_critical(found, Code.SOURCE_REFUSES, observed.refusal)
    if arrival is not None:
        there = [*_of_arrival(machine, arrival, wishes), *_of_host(machine, arrival.capacity, wishes)]
        found += [*there, *_unless_critical(there, Code.DESTINATION_REFUSES, arrival.refusals.get(observed.instance))]
    order = list(Severity)
    return tuple(sorted(found, key=lambda each: order.index(each.severity)))


def space_needed(machine: Machine, arrival: Arrival, wishes: Wishes) -> dict[str, int]:
    """Return the bytes that a machine's replica takes of each storage; `InvalidInput` if a disk has no place.

    A disk counts with its whole size, or with what it holds where the environment says `allow_overcommit`.
    """
    overcommit = bool(wishes.destination_environment.get("allow_overcommit"))
    default = wishes.destination_environment.get("storage_pool") or arrival.default_storage
    needed: dict[str, int] = {}
    for mapping in map_disks(machine, wishes.storage_mappings, arrival.storage, default):
        used = mapping.disk.allocated_bytes
        size = used if overcommit and used is not None else mapping.disk.size_bytes
        needed[mapping.destination_storage] = needed.get(mapping.destination_storage, 0) + size
    return needed


def together(needs: Iterable[Mapping[str, int]], storage: Iterable[StorageBackend]) -> tuple[Concern, ...]:
    """Return the storages that have room for each machine and not for all of them."""
    total: dict[str, int] = {}
    largest: dict[str, int] = {}
    for need in needs:
        for name, size in need.items():
            total[name] = total.get(name, 0) + size
            largest[name] = max(largest.get(name, 0), size)
    return tuple(
        _concern(
            Code.TOO_LITTLE_SPACE_TOGETHER,
            f"storage {each.name} has {each.free_bytes} bytes free and all machines together need {total[key]}: "
            "make room, map some of them elsewhere, or migrate them in waves",
        )
        for each in storage
        for key in {each.id, each.name} & total.keys()
        if each.free_bytes is not None and largest[key] <= each.free_bytes < total[key]
    )


def same_addresses(addresses: Iterable[tuple[str, str]]) -> tuple[Concern, ...]:
    """Return a concern for each MAC address that several of the assessed machines have; pairs are (address, name)."""
    owners: dict[str, list[str]] = {}
    for address, name in addresses:
        owners.setdefault(address.lower(), []).append(name)
    return tuple(
        _concern(
            Code.DUPLICATE_MAC,
            f"{', '.join(names)} have the same MAC address {address}: give one of them another, or keep their "
            "networks apart",
        )
        for address, names in sorted(owners.items())
        if address and len(names) > 1
    )


def _concern(code: Code, message: str) -> Concern:
    return Concern(code, severity_of(code), message, REMEDIES[code])


def _unless_critical(found: Iterable[Concern], code: Code, refusal: str | None) -> Iterator[Concern]:
    """A cloud tells the first thing that it minds: where that is known already, it is not told twice."""
    if refusal and not any(each.severity is Severity.CRITICAL for each in found):
        yield _concern(code, refusal)


def _of_disks(machine: Machine) -> Iterator[Concern]:
    if not machine.disks:
        yield _concern(Code.NO_DISK, f"{machine.name} has no disk to move: choose another machine")
    for disk in machine.disks:
        name = f"disk {disk.id} of {machine.name}"
        if disk.shareable:
            yield _concern(
                Code.SHARED_DISK,
                f"{name} is shared with other machines, so a copy of what this one sees would not be whole: detach it",
            )
        if disk.encrypted:
            yield _concern(
                Code.ENCRYPTED_DISK,
                f"{name} is encrypted by its hypervisor and arrives without: encrypt the destination's storage",
            )
        if not disk.can_track_changes:
            yield _concern(
                Code.NO_BITMAP,
                f"the source cannot tell what changes on {name} ({disk.format}): each pass reads it whole, also the "
                "last one, while the machine is stopped. Convert it to qcow2 to shorten the down time",
            )
        if disk.backing_files:
            yield _concern(
                Code.SNAPSHOT_CHAIN,
                f"{name} is the top of {disk.backing_files + 1} images: it arrives as one whole image",
            )


def _of_guest(observed: Observed, machine: Machine, wishes: Wishes) -> Iterator[Concern]:
    name = f"{machine.os_distribution} {machine.os_version}".strip()
    if not wishes.skip_os_morphing:
        if observed.os_supported is False:
            yield _concern(
                Code.OS_UNSUPPORTED,
                f"{machine.name} runs {name}, which no morpher knows: prepare the guest yourself and use "
                "skip_os_morphing",
            )
        elif observed.os_supported is None:
            yield _concern(
                Code.OS_UNKNOWN,
                f"the source does not tell what {machine.name} runs: install the guest agent, or name the system in "
                "the machine's metadata, to have it checked before",
            )
    if machine.power_state is PowerState.OFF:
        yield _concern(
            Code.POWERED_OFF,
            f"{machine.name} is off: it can be replicated, and is started at the destination",
        )
    elif machine.guest_agent is False:
        yield _concern(
            Code.GUEST_AGENT_ABSENT,
            f"no guest agent answers in {machine.name}: it is shut down by its power button, and passes while it runs "
            "are consistent as after a power cut",
        )


def _of_the_rest(machine: Machine) -> Iterator[Concern]:
    if machine.snapshots:
        yield _concern(
            Code.SNAPSHOTS,
            f"{machine.name} has {machine.snapshots} snapshots, which stay at the source and can keep it from tracking "
            "changes: delete those that nobody needs",
        )
    if machine.tpm:
        yield _concern(
            Code.TPM,
            f"{machine.name} has a TPM, whose content does not move: have recovery keys ready (BitLocker, LUKS), or "
            "release the disks from it before",
        )
    for device in machine.host_devices:
        yield _concern(
            Code.HOST_DEVICE,
            f"{machine.name} holds a device of its host ({device}), which stays there: see that it boots without",
        )


def _of_arrival(machine: Machine, arrival: Arrival, wishes: Wishes) -> Iterator[Concern]:
    known = {name for network in arrival.networks for name in (network.id, network.name)}
    offered = ", ".join(sorted(network.name for network in arrival.networks)) or "none"
    for source in sorted({nic.network_name for nic in machine.nics}):
        place = wishes.network_map.get(source)
        if not place:
            yield _concern(
                Code.UNMAPPED_NETWORK,
                f"no destination network for {source!r} of {machine.name}: add it to network_map",
            )
        elif place not in known:
            yield _concern(
                Code.UNKNOWN_NETWORK,
                f"the destination has no network {place!r}, where {source!r} of {machine.name} goes; it has: {offered}",
            )
    try:
        needed = space_needed(machine, arrival, wishes)
    except InvalidInput as error:
        yield _concern(Code.UNMAPPED_STORAGE, error.message)
        return
    yield from _of_space(machine, needed, arrival, wishes)


def _of_space(machine: Machine, needed: Mapping[str, int], arrival: Arrival, wishes: Wishes) -> Iterator[Concern]:
    free = {name: each.free_bytes for each in arrival.storage for name in (each.id, each.name)}
    for storage, size in sorted(needed.items()):
        room = free.get(storage)
        if room is None:
            continue
        told = f"storage {storage} has {room} bytes free"
        if size > room:
            yield _concern(
                Code.TOO_LITTLE_SPACE,
                f"{told} and the disks of {machine.name} need {size}: make room, or map the disks elsewhere",
            )
        elif wishes.clone_disks and 2 * size > room:
            yield _concern(
                Code.LITTLE_SPACE_FOR_CLONES,
                f"{told}, enough for the replica of {machine.name} and not for its clones as well ({2 * size}): make "
                "room, or deploy without clones (clone_disks false)",
            )


def _of_host(machine: Machine, capacity: Capacity, wishes: Wishes) -> Iterator[Concern]:
    if machine.firmware is Firmware.EFI and capacity.firmwares is not None and Firmware.EFI not in capacity.firmwares:
        yield _concern(
            Code.UEFI_TO_BIOS,
            f"{machine.name} boots by UEFI and the destination has BIOS only: install its UEFI firmware (OVMF), or "
            "choose another destination",
        )
    if capacity.max_cpu is not None and machine.num_cpu > capacity.max_cpu:
        yield _concern(
            Code.INSTANCE_TOO_LARGE,
            f"{machine.name} has {machine.num_cpu} processors and the destination takes {capacity.max_cpu} at most",
        )
    if capacity.memory_mb is not None and machine.memory_mb > capacity.memory_mb:
        yield _concern(
            Code.INSTANCE_TOO_LARGE,
            f"{machine.name} has {machine.memory_mb} MiB of memory and the destination's host {capacity.memory_mb}",
        )
    elif capacity.free_memory_mb is not None and machine.memory_mb > capacity.free_memory_mb:
        yield _concern(
            Code.HOST_MEMORY_SHORT,
            f"{machine.name} has {machine.memory_mb} MiB of memory and {capacity.free_memory_mb} are free at the "
            "destination now: stop something there before the deployment",
        )
    for nic in machine.nics:
        owner = capacity.mac_addresses.get(nic.mac_address.lower())
        if owner is not None:
            yield _concern(
                Code.DUPLICATE_MAC,
                f"MAC address {nic.mac_address} of {machine.name} is in use by {owner} at the destination, and is "
                "kept: keep their networks apart, or remove the other machine",
            )
    name = machine.name + str(wishes.destination_environment.get("name_suffix") or "")
    if name in capacity.machines:
        yield _concern(
            Code.NAME_TAKEN,
            f"the destination has a machine {name}: the new one is given another name; name_suffix chooses it",
        )
