"""The libvirt provider: the contract's methods, each one a call into the module of its concern."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from isthmus.control.errors import InvalidInput
from isthmus.migration.machine import (
    BootProbe,
    Capacity,
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
    HostNetwork,
    Reading,
    SourceProvider,
)
from isthmus.migration.providers.libvirt import (
    adopting,
    booting,
    capacity,
    copying,
    domain,
    images,
    inventory,
    neutron_nics,
    options,
    power,
    reading,
    schemas,
    volumes,
    writing,
)
from isthmus.migration.providers.libvirt.connection import TLS_KEYS, Hypervisor, leads_here
from isthmus.migration.providers.libvirt.faults import translated
from isthmus.migration.providers.premises import NOTHING, Premises
from isthmus.migration.reporting import Report


class LibvirtProvider(SourceProvider, DestinationProvider):
    """QEMU machines of one libvirtd, as source and as destination."""

    platform: ClassVar[str] = "libvirt"
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

    operators_keys: ClassVar[Mapping[str, str]] = {"nbd.worker_certificates": "nbd_certificates"}

    def __init__(self, connection: Mapping[str, Any], premises: Premises = NOTHING) -> None:
        super().__init__(connection, premises)
        self._hypervisor = Hypervisor(connection, premises)

    def close(self) -> None:
        """Close the libvirt connection."""
        self._hypervisor.close()

    @property
    def _host(self) -> HostNetwork | None:
        """The network agent of the hypervisor's host: that of the worker's, if they are the same."""
        return self.host_network if leads_here(self._hypervisor.uri) else None

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

    @classmethod
    def is_local(cls, connection: Mapping[str, Any]) -> bool:
        """Tell whether it leads to a hypervisor of this machine, makes sockets on it, or uses keys that lie on it."""
        uri = str(connection["uri"])
        scheme = uri.partition(":")[0]
        borrows_keys = "ssh" in scheme and not connection.get("ssh_private_key")
        # Without any of the endpoint's own, libvirt takes the certificates of /etc/pki.
        borrows_keys |= scheme.endswith("+tls") and not any(connection.get(key) for key in TLS_KEYS)
        nbd = connection.get("nbd") or {}
        has_sockets = nbd.get("transport") == "unix" or "socket_directory" in nbd
        return borrows_keys or has_sockets or leads_here(uri)

    def validate_connection(self) -> None:
        """Connect and ask for the version."""
        with translated(f"hypervisor {self._hypervisor.label}"):
            self._hypervisor.connection.getLibVersion()

    def list_machines(self, name_pattern: str | None = None) -> Sequence[Machine]:
        """Return all domains but our own helpers."""
        return inventory.list_machines(self._hypervisor, name_pattern)

    def get_machine(self, instance: str) -> Machine:
        """Return one domain by UUID or name."""
        return inventory.get_machine(self._hypervisor, instance)

    def list_networks(self) -> Sequence[Network]:
        """Return libvirt's networks, and Neutron's where the hypervisor is the worker's own machine."""
        return [*inventory.list_networks(self._hypervisor), *neutron_nics.list_networks(self._host)]

    def list_storage(self) -> tuple[Sequence[StorageBackend], str | None]:
        """Return the active storage pools."""
        return inventory.list_storage(self._hypervisor)

    def source_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002 - the contract's
        """Return the source environment's keys, which do not depend on one another."""
        return options.source_options()

    def validate_source(self, instance: str, environment: Environment) -> Machine:  # noqa: ARG002 - the contract's
        """Return the machine if its disks can be read, and are its own."""
        machine = self.get_machine(instance)
        if not machine.disks:
            raise InvalidInput(f"machine {machine.name} has no disk to move; choose another")
        shared = [disk.id for disk in machine.disks if disk.shareable]
        if shared:
            raise InvalidInput(
                f"machine {machine.name} shares {'disk' if len(shared) == 1 else 'disks'} {', '.join(shared)} with "
                "other machines, so a copy of what this one sees would not be whole; detach it, or end the sharing "
                "(<shareable/> in its XML), and execute the transfer again"
            )
        images.refuse_broken(self._hypervisor, instance)
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
        """Begin a pull-mode backup of all disks."""
        wanted = reading.Wanted(transfer_id, point, since)
        return reading.open_reading(self._hypervisor, instance, wanted, report)

    def close_reading(self, transfer_id: str, instance: str, *, keep: str | None) -> None:
        """End the backup and delete checkpoints."""
        reading.close_reading(self._hypervisor, instance, transfer_id, keep)

    def shut_down(self, instance: str, environment: Environment, report: Report) -> bool:
        """Shut the guest down by agent or power button."""
        return power.shut_down(self._hypervisor, instance, environment, report)

    def start(self, instance: str) -> None:
        """Start the domain."""
        power.start(self._hypervisor, instance)

    def destination_options(self, environment: Environment) -> Sequence[EnvironmentOption]:  # noqa: ARG002 - the contract's
        """Return the destination environment's keys with pools and networks."""
        return options.destination_options(self._hypervisor, self.list_networks())

    def capacity(self) -> Capacity:
        """Return the host's processors, memory and firmware, and the names and MAC addresses that are in use."""
        return capacity.capacity(self._hypervisor)

    def validate_destination(
        self,
        transfer_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DiskMapping],
        nics: Sequence[NicMapping],
    ) -> None:
        """Check architecture, networks, pools and space."""
        domain.validate_machine(machine)
        with translated(f"hypervisor {self._hypervisor.label}"):
            for mapping in nics:
                if not neutron_nics.is_neutron(mapping.destination_network):
                    domain.network_name(self._hypervisor, mapping.destination_network)
            neutron_nics.check(self._host, environment, nics)
            volumes.check_space(self._hypervisor, transfer_id, machine, environment, disks)

    def ensure_disks(
        self, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
    ) -> Sequence[DestinationDisk]:
        """Make volumes."""
        return volumes.ensure_disks(self._hypervisor, transfer_id, instance, environment, disks)

    def delete_disks(self, disks: Sequence[DestinationDisk]) -> None:
        """Delete volumes."""
        volumes.delete_disks(self._hypervisor, disks)

    def open_writing(self, owner: str, disks: Sequence[DestinationDisk]) -> Sequence[ExportedDisk]:
        """Serve volumes by a paused helper domain."""
        return writing.open_writing(self._hypervisor, owner, disks)

    def close_writing(self, owner: str) -> None:
        """End the helper domain."""
        writing.close_writing(self._hypervisor, owner)

    def clone_disks(
        self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy volumes."""
        return copying.clone_disks(self._hypervisor, deployment_id, instance, disks, report)

    def delete_clones(self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete the volumes that a deployment's clones have."""
        copying.delete_clones(self._hypervisor, deployment_id, instance, disks)

    def adopt_machine(
        self, transfer_id: str, instance: str, machine: str, disks: Sequence[DiskMapping], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy the volumes of a domain that is off."""
        return adopting.adopt_machine(self._hypervisor, transfer_id, instance, machine, disks=disks, report=report)

    def create_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Keep copies of volumes."""
        copying.create_snapshots(self._hypervisor, deployment_id, disks)

    def restore_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Bring the kept copies back."""
        copying.restore_snapshots(self._hypervisor, deployment_id, disks)

    def delete_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete the kept copies."""
        copying.delete_snapshots(self._hypervisor, deployment_id, disks)

    def create_machine(
        self,
        deployment_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DestinationDisk],
        nics: Sequence[NicMapping],
    ) -> DeployedMachine:
        """Reserve ports for what goes to Neutron, and define the domain."""
        ports = neutron_nics.reserve(self._host, environment, deployment_id, machine.name, nics)
        return domain.create_machine(
            self._hypervisor,
            deployment_id,
            machine=machine,
            environment=environment,
            disks=disks,
            nics=domain.DeployedNics(nics, ports),
        )

    def boot_machine(self, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:
        """Start the domain, plug its taps before it runs, and watch."""
        return booting.boot_machine(
            self._hypervisor, deployed, probe, report, connect=lambda taps: neutron_nics.plug(self._host, taps)
        )

    def delete_machine(self, deployment_id: str, machine_name: str) -> None:
        """Remove the domain, then its ports."""
        for name in {machine_name, *domain.delete_machine(self._hypervisor, deployment_id, machine_name)}:
            neutron_nics.release(self._host, deployment_id, name)
