"""The provider of disk images: the contract's methods, each one a call into the module of its concern.

Nothing runs in a directory: its machines are always off, `start` is refused, and a deployment's proof of life is that
its images and descriptors are whole.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from isthmus.control.errors import InvalidInput, NotSupported, StepFailed
from isthmus.migration.machine import (
    BootProbe,
    DeployedMachine,
    DestinationDisk,
    DiskMapping,
    EnvironmentOption,
    Machine,
    Network,
    NicMapping,
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
from isthmus.migration.providers.images import catalogue, inspection, publishing, reading, schemas, writing
from isthmus.migration.providers.images.exports import Exports
from isthmus.migration.providers.images.formats import ImageFormat
from isthmus.migration.providers.images.replicas import Replicas
from isthmus.migration.providers.premises import NOTHING, Premises
from isthmus.migration.reporting import Report


class ImagesProvider(SourceProvider, DestinationProvider):
    """Disk images, OVA archives and OVF packages of one directory, as source and as destination."""

    platform: ClassVar[str] = "images"
    capabilities: ClassVar[Capability] = (
        Capability.TRANSFER_IMPORT
        | Capability.TRANSFER_EXPORT
        | Capability.ENDPOINT
        | Capability.ENDPOINT_INSTANCES
        | Capability.OS_MORPHING
        | Capability.ENDPOINT_NETWORKS
        | Capability.ENDPOINT_STORAGE
        | Capability.SOURCE_ENDPOINT_OPTIONS
        | Capability.DESTINATION_ENDPOINT_OPTIONS
        | Capability.VALIDATE_TRANSFER_EXPORT
        | Capability.VALIDATE_TRANSFER_IMPORT
    )

    operators_keys: ClassVar[Mapping[str, str]] = {"runtime_directory": "runtime_dir"}

    def __init__(self, connection: Mapping[str, Any], premises: Premises = NOTHING) -> None:
        super().__init__(connection, premises)
        self._root = self._place()
        self._networks = tuple(connection.get("networks") or (schemas.DEFAULT_NETWORK,))
        self._exports = Exports(premises.runtime / "images")
        self._replicas = Replicas(self._root)

    def _place(self) -> Path:
        """Return the directory of the images."""
        return self.premises.image_directory(str(self.connection["path"]))

    @classmethod
    def connection_schema(cls) -> dict[str, Any]:
        """Return the schema of the connection details."""
        return schemas.CONNECTION

    @classmethod
    def source_schema(cls) -> dict[str, Any]:
        """Return the schema of the source environment."""
        return schemas.SOURCE

    @classmethod
    def destination_schema(cls) -> dict[str, Any]:
        """Return the schema of the destination environment."""
        return schemas.DESTINATION

    def validate_connection(self) -> None:
        """See that the directory is there."""
        catalogue.check_root(self._root)

    def list_machines(self, name_pattern: str | None = None) -> Sequence[Machine]:
        """Return all packages, archives and lone images that can be read."""
        return catalogue.list_machines(self._root, name_pattern)

    def get_machine(self, instance: str) -> Machine:
        """Return one machine by its file's path in the directory, or by name."""
        return catalogue.find(self._root, instance).machine

    def list_networks(self) -> Sequence[Network]:
        """Return the names of the connection details."""
        return [Network(name, name) for name in sorted(self._networks)]

    def list_storage(self) -> tuple[Sequence[StorageBackend], str | None]:
        """Return the directory."""
        return [catalogue.storage(self._root)], catalogue.STORAGE

    def source_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002 - the contract's
        """Return the source environment's keys."""
        return [
            EnvironmentOption("num_cpu"),
            EnvironmentOption("memory_mb"),
            EnvironmentOption("firmware", ("BIOS", "EFI")),
            EnvironmentOption("os_type", ("linux", "windows")),
        ]

    def validate_source(self, instance: str, environment: Environment) -> Machine:
        """Return the machine if its images are whole."""
        found = catalogue.find(self._root, instance)
        if not found.images:
            raise InvalidInput(f"machine {found.machine.name} has no disk to move; choose another")
        for image in found.images:
            inspection.refuse_broken(image)
        return catalogue.with_wishes(found.machine, environment)

    def open_reading(
        self,
        transfer_id: str,
        instance: str,
        environment: Environment,  # noqa: ARG002 - the contract's
        *,
        point: str,
        since: str | None,
        report: Report,
    ) -> Reading:
        """Compare the package with its manifest and serve its images, read-only."""
        found = catalogue.find(self._root, instance)
        wanted = reading.Wanted(transfer_id, instance, point, since)
        return reading.open_reading(self._exports, found, wanted, report)

    def close_reading(self, transfer_id: str, instance: str, *, keep: str | None) -> None:  # noqa: ARG002 - nothing to keep
        """Stop serving."""
        reading.close_reading(self._exports, transfer_id, instance)

    def shut_down(self, instance: str, environment: Environment, report: Report) -> bool:  # noqa: ARG002 - the contract's
        """Return that it was off."""
        catalogue.find(self._root, instance)
        return False

    def start(self, instance: str) -> None:
        """Refuse: nothing runs here."""
        raise NotSupported(f"{instance} is a disk image, which cannot be started: deploy it to a cloud")

    def destination_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002 - the contract's
        """Return the destination environment's keys."""
        return [
            EnvironmentOption("disk_format", tuple(each.value for each in ImageFormat), ImageFormat.QCOW2.value),
            EnvironmentOption("disk_bus", ("virtio", "scsi", "sata"), "virtio"),
            EnvironmentOption("network", self._networks),
            EnvironmentOption("set_dhcp", (True, False), False),
        ]

    def validate_destination(
        self,
        transfer_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DiskMapping],
        nics: Sequence[NicMapping],
    ) -> None:
        """Check networks and space."""
        for mapping in nics:
            if mapping.destination_network not in self._networks:
                raise InvalidInput(
                    f"network {mapping.destination_network!r} is not among the endpoint's networks "
                    f"({', '.join(self._networks)}); correct the network map or the endpoint"
                )
        for disk in (mapping.disk for mapping in disks):
            if disk.size_bytes > inspection.LARGEST_DISK:
                raise InvalidInput(
                    f"disk {disk.id} of {machine.name} is larger than 64 TiB and has no room in a free file"
                )
        self._replicas.check_space(transfer_id, machine, environment, disks)

    def ensure_disks(
        self, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
    ) -> Sequence[DestinationDisk]:
        """Make images."""
        return self._replicas.ensure_disks(transfer_id, instance, environment, disks)

    def delete_disks(self, disks: Sequence[DestinationDisk]) -> None:
        """Delete images."""
        self._replicas.delete(disks)

    def open_writing(self, owner: str, disks: Sequence[DestinationDisk]) -> Sequence[ExportedDisk]:
        """Serve images for writing."""
        return writing.open_writing(self._exports, self._replicas, owner, disks)

    def close_writing(self, owner: str) -> None:
        """Stop serving."""
        writing.close_writing(self._exports, owner)

    def clone_disks(
        self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy images."""
        return self._replicas.clone(deployment_id, instance, disks, report)

    def delete_clones(self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete a deployment's copies."""
        self._replicas.delete_clones(deployment_id, instance, disks)

    def create_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Keep copies of images."""
        self._replicas.keep(deployment_id, disks)

    def restore_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Bring the kept copies back."""
        self._replicas.restore(deployment_id, disks)

    def delete_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete the kept copies."""
        self._replicas.forget(deployment_id, disks)

    def create_machine(
        self,
        deployment_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DestinationDisk],
        nics: Sequence[NicMapping],
    ) -> DeployedMachine:
        """Make the machine's directory."""
        if len({disk.volume_id for disk in disks}) != len(disks):
            raise StepFailed(f"two disks of {machine.name} are the same image; execute the transfer again")
        return publishing.create_machine(
            self._replicas, deployment_id, machine=machine, environment=environment, disks=disks, nics=nics
        )

    def boot_machine(self, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:  # noqa: ARG002 - the contract's
        """See that the machine's directory is whole."""
        return publishing.boot_machine(self._replicas, deployed, probe)

    def delete_machine(self, deployment_id: str, machine_name: str) -> None:
        """Remove the machine's directory."""
        publishing.delete_machine(self._replicas, deployment_id, machine_name)
