"""The OpenStack provider: the contract's methods, each one a call into the module of its concern."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from isthmus.control.errors import InvalidInput
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
from isthmus.migration.providers.openstack import (
    adopting,
    booting,
    inventory,
    options,
    power,
    reading,
    schemas,
    servers,
    volumes,
    writing,
)
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.premises import NOTHING, Premises
from isthmus.migration.reporting import Report


class OpenStackProvider(SourceProvider, DestinationProvider):
    """Servers of one project in one region of an OpenStack cloud, as source and as destination."""

    platform: ClassVar[str] = "openstack"
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

    operators_keys: ClassVar[Mapping[str, str]] = {"file_shares": "file_shares", "runtime_directory": "runtime_dir"}

    def __init__(self, connection: Mapping[str, Any], premises: Premises = NOTHING) -> None:
        super().__init__(connection, premises)
        self._cloud = Cloud(connection, premises)

    def close(self) -> None:
        """Close the connection."""
        self._cloud.close()

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
        """Get a token and find the services."""
        self._cloud.authorize()
        inventory.list_networks(self._cloud)

    def list_machines(self, name_pattern: str | None = None) -> Sequence[Machine]:
        """Return the project's servers."""
        return inventory.list_machines(self._cloud, name_pattern)

    def get_machine(self, instance: str) -> Machine:
        """Return one server by id or name, or a deployed one that has never run by its id."""
        if instance.startswith(servers.PREPARED):
            return servers.prepared_machine(self._cloud, instance)
        return inventory.whole_machine(self._cloud, inventory.find_server(self._cloud, instance))

    def list_networks(self) -> Sequence[Network]:
        """Return the project's networks and the shared ones."""
        return inventory.list_networks(self._cloud)

    def list_storage(self) -> tuple[Sequence[StorageBackend], str | None]:
        """Return the volume types."""
        return inventory.list_storage(self._cloud)

    def source_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002 - the contract's
        """Return the source environment's keys, which do not depend on one another."""
        return options.source_options()

    def validate_source(self, instance: str, environment: Environment) -> Machine:  # noqa: ARG002 - the contract's
        """Return the machine if all its disks are volumes of its own."""
        machine = self.get_machine(instance)
        if not machine.disks:
            raise InvalidInput(f"machine {machine.name} has no disk to move; choose another")
        for disk in machine.disks:
            if disk.shareable:
                raise InvalidInput(
                    f"disk {disk.id} of machine {machine.name} may be attached to several machines at once; detach it, "
                    "and execute the transfer again"
                )
        return machine

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
        """Make snapshots and volumes of them, and serve those."""
        return reading.open_reading(self._cloud, reading.Wanted(transfer_id, instance, point, since), report)

    def close_reading(self, transfer_id: str, instance: str, *, keep: str | None) -> None:  # noqa: ARG002 - nothing is kept
        """Stop serving, and delete the snapshots and their volumes."""
        reading.close_reading(self._cloud, transfer_id, instance)

    def shut_down(self, instance: str, environment: Environment, report: Report) -> bool:
        """Have Nova stop the server."""
        return power.shut_down(self._cloud, instance, environment, report)

    def start(self, instance: str) -> None:
        """Start the server."""
        power.start(self._cloud, instance)

    def destination_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002 - the contract's
        """Return the destination environment's keys with what the project can choose."""
        return options.destination_options(self._cloud)

    def validate_destination(
        self,
        transfer_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DiskMapping],
        nics: Sequence[NicMapping],
    ) -> None:
        """Check flavor, networks, volume types, quota and the other choices."""
        servers.check_machine(self._cloud, machine, environment, nics)
        volumes.check_space(self._cloud, transfer_id, machine, disks)

    def ensure_disks(
        self, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
    ) -> Sequence[DestinationDisk]:
        """Make volumes."""
        adopting.tidy(self._cloud, transfer_id, instance)
        return volumes.ensure_disks(self._cloud, transfer_id, instance, environment, disks)

    def adopt_machine(
        self, transfer_id: str, instance: str, machine: str, disks: Sequence[DiskMapping], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy the volumes of a server that is off, and its root disk if that is none."""
        return adopting.adopt_machine(self._cloud, transfer_id, instance, machine, disks=disks, report=report)

    def delete_disks(self, disks: Sequence[DestinationDisk]) -> None:
        """Delete volumes."""
        volumes.delete_disks(self._cloud, disks)

    def open_writing(self, owner: str, disks: Sequence[DestinationDisk]) -> Sequence[ExportedDisk]:
        """Attach volumes and serve them."""
        return writing.open_writing(self._cloud, owner, disks)

    def close_writing(self, owner: str) -> None:
        """Stop serving and detach."""
        writing.close_writing(self._cloud, owner)

    def clone_disks(
        self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy volumes."""
        return volumes.clone_disks(self._cloud, deployment_id, instance, disks, report)

    def delete_clones(self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete a deployment's copies."""
        volumes.delete_clones(self._cloud, deployment_id, instance, disks)

    def create_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Keep copies of volumes."""
        writing.create_snapshots(self._cloud, deployment_id, disks)

    def restore_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Bring the kept copies back."""
        writing.restore_snapshots(self._cloud, deployment_id, disks)

    def delete_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete the kept copies."""
        writing.delete_snapshots(self._cloud, deployment_id, disks)

    def create_machine(
        self,
        deployment_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DestinationDisk],
        nics: Sequence[NicMapping],
    ) -> DeployedMachine:
        """Make the ports and mark the volumes."""
        return servers.create_machine(
            self._cloud, deployment_id, machine=machine, environment=environment, disks=disks, nics=nics
        )

    def boot_machine(self, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:
        """Make the server and watch."""
        return booting.boot_machine(self._cloud, deployed, probe, report)

    def delete_machine(self, deployment_id: str, machine_name: str) -> None:
        """Remove the server and its ports."""
        servers.delete_machine(self._cloud, deployment_id, machine_name)
