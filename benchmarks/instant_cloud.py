"""A cloud whose every step does nothing, at once: what is left of an execution is the control plane.

A provider like any other, found by its entry point (`installed`), so all processes are the real ones and nothing of
the program is replaced. A machine has one disk, which no point in time of it shows: there is nothing to copy. While
the file `hold` of its connection exists, reading waits; so a worker can be killed in the midst of a step.
"""

import shutil
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from isthmus.migration.machine import (
    BootProbe,
    DeployedMachine,
    DestinationDisk,
    Disk,
    DiskMapping,
    EnvironmentOption,
    Firmware,
    Machine,
    Network,
    NicMapping,
    PowerState,
    ProbeResult,
    StorageBackend,
)
from isthmus.migration.providers.contract import (
    Capability,
    DestinationProvider,
    Environment,
    ExportedDisk,
    Reading,
    SourceProvider,
)
from isthmus.migration.reporting import Report

PLATFORM = "instant"
MIB = 1 << 20


@contextmanager
def installed() -> Iterator[None]:
    """Have every program of this virtual environment find the provider, as if its package were installed."""
    site = Path(sysconfig.get_path("purelib"))
    facts, path = site / "isthmus_benchmark-0.dist-info", site / "isthmus_benchmark.pth"
    facts.mkdir(exist_ok=True)
    try:
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: isthmus-benchmark\nVersion: 0\n")
        entry = f"[isthmus.migration.providers]\n{PLATFORM} = benchmarks.instant_cloud:InstantCloud\n"
        (facts / "entry_points.txt").write_text(entry)
        path.write_text(f"{Path(__file__).parents[1]}\n")
        yield
    finally:
        shutil.rmtree(facts)
        path.unlink(missing_ok=True)


class InstantCloud(SourceProvider, DestinationProvider):
    """Any machine that is asked for is there, off, and everything that is asked is done."""

    platform: ClassVar[str] = PLATFORM
    capabilities: ClassVar[Capability] = (
        Capability.TRANSFER_IMPORT
        | Capability.TRANSFER_EXPORT
        | Capability.ENDPOINT
        | Capability.ENDPOINT_INSTANCES
        | Capability.ENDPOINT_NETWORKS
        | Capability.ENDPOINT_STORAGE
    )

    @classmethod
    def connection_schema(cls) -> dict[str, Any]:
        """Return the schema: a name, and perhaps the file that holds reading up."""
        return {"type": "object", "properties": {"name": {"type": "string"}, "hold": {"type": "string"}}}

    @classmethod
    def source_schema(cls) -> dict[str, Any]:
        """Anything goes."""
        return {"type": "object"}

    @classmethod
    def destination_schema(cls) -> dict[str, Any]:
        """Anything goes."""
        return {"type": "object"}

    def validate_connection(self) -> None:
        """Return at once."""

    def list_machines(self, name_pattern: str | None = None) -> Sequence[Machine]:  # noqa: ARG002 - the contract's
        """Return none: there are as many as one likes."""
        return []

    def get_machine(self, instance: str) -> Machine:
        """Return a machine with this name."""
        disk = Disk("disk1", MIB, "raw", "disks", "virtio", can_track_changes=False)
        return Machine(instance, instance, 1, 128, Firmware.BIOS, PowerState.OFF, disks=(disk,))

    def list_networks(self) -> Sequence[Network]:
        """Return one."""
        return [Network("lan", "lan")]

    def list_storage(self) -> tuple[Sequence[StorageBackend], str | None]:
        """Return one."""
        return [StorageBackend("disks", "disks")], "disks"

    def source_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002
        """Return none."""
        return []

    def destination_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002
        """Return none."""
        return []

    def validate_source(self, instance: str, environment: Environment) -> Machine:  # noqa: ARG002
        """Return the machine."""
        return self.get_machine(instance)

    def open_reading(
        self,
        transfer_id: str,  # noqa: ARG002
        instance: str,  # noqa: ARG002
        environment: Environment,  # noqa: ARG002
        *,
        point: str,
        since: str | None,  # noqa: ARG002
        report: Report,
    ) -> Reading:
        """Return a point in time of no disks, once nothing holds it up."""
        hold = self.connection.get("hold")
        while hold and Path(hold).exists():
            report.check()
            time.sleep(0.02)
        return Reading(point, ())

    def close_reading(self, transfer_id: str, instance: str, *, keep: str | None) -> None:
        """Do nothing."""

    def shut_down(self, instance: str, environment: Environment, report: Report) -> bool:  # noqa: ARG002
        """It is off."""
        return False

    def start(self, instance: str) -> None:
        """Do nothing."""

    def validate_destination(
        self,
        transfer_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DiskMapping],
        nics: Sequence[NicMapping],
    ) -> None:
        """Do nothing."""

    def ensure_disks(
        self,
        transfer_id: str,
        instance: str,
        environment: Environment,  # noqa: ARG002
        disks: Sequence[DiskMapping],
    ) -> Sequence[DestinationDisk]:
        """Name the disks."""
        return [
            DestinationDisk(each.disk.id, f"{transfer_id}-{instance}", each.disk.size_bytes, "raw", "disks")
            for each in disks
        ]

    def delete_disks(self, disks: Sequence[DestinationDisk]) -> None:
        """Do nothing."""

    def open_writing(self, owner: str, disks: Sequence[DestinationDisk]) -> Sequence[ExportedDisk]:
        """Name an export of each, which nobody opens."""
        return [ExportedDisk(each.disk_id, f"nbd://{owner}", each.size_bytes) for each in disks]

    def close_writing(self, owner: str) -> None:
        """Do nothing."""

    def clone_disks(
        self,
        deployment_id: str,  # noqa: ARG002
        instance: str,  # noqa: ARG002
        disks: Sequence[DestinationDisk],
        report: Report,  # noqa: ARG002
    ) -> Sequence[DestinationDisk]:
        """Return the same."""
        return disks

    def create_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Do nothing."""

    def restore_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Do nothing."""

    def delete_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Do nothing."""

    def create_machine(
        self,
        deployment_id: str,
        machine: Machine,
        environment: Mapping[str, Any],  # noqa: ARG002
        disks: Sequence[DestinationDisk],  # noqa: ARG002
        nics: Sequence[NicMapping],  # noqa: ARG002
    ) -> DeployedMachine:
        """Name the machine."""
        return DeployedMachine(deployment_id, machine.name)

    def boot_machine(self, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:  # noqa: ARG002
        """It lives."""
        return ProbeResult(True, "nothing", 0.0)

    def delete_machine(self, deployment_id: str, machine_name: str) -> None:
        """Do nothing."""
