"""What a cloud's provider must do. `tests/contract/test_provider_contract.py` holds every provider to it.

A provider object is made for one use from an endpoint's resolved connection details and then closed; it keeps no
state between calls: all that must be remembered is found again in the cloud itself, by names made from the ids
that the caller gives. Every method can therefore be called again after a crash at any point, and each says what
"already done" means. Methods block and are called from worker threads.

Errors, for every method: `Unavailable` if the cloud does not answer (the engine tries again), `NotAuthenticated`
for refused credentials, `NotFound` for an object that is gone, `InvalidInput` for environments or mappings that do
not fit, `StepFailed` for what no retry can mend. All name the object and the next step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag, StrEnum
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

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
from isthmus.migration.providers.premises import NOTHING, Premises
from isthmus.migration.reporting import Report, Silence

Environment = Mapping[str, Any]
"""A source or destination environment, already checked against the provider's JSON schema."""


class Capability(IntFlag):
    """Coriolis' provider bits (its `constants.py`): what GET /providers reports in `types`."""

    TRANSFER_IMPORT = 4
    TRANSFER_EXPORT = 8
    ENDPOINT = 16
    ENDPOINT_INSTANCES = 32
    OS_MORPHING = 64
    ENDPOINT_NETWORKS = 128
    DESTINATION_ENDPOINT_OPTIONS = 512
    VALIDATE_TRANSFER_EXPORT = 4096
    VALIDATE_TRANSFER_IMPORT = 16384
    ENDPOINT_STORAGE = 32768
    SOURCE_ENDPOINT_OPTIONS = 131072


class ChangeSource(StrEnum):
    """Where the knowledge of what to read comes from, for one disk in one pass.

    ALLOCATION: everything allocated (`base:allocation`). DIRTY_BITMAP: blocks that the cloud's bitmap names.
    HASH_MAP: everything allocated is read and compared with the stored hash map; only what differs is sent.
    """

    ALLOCATION = "allocation"
    DIRTY_BITMAP = "dirty-bitmap"
    HASH_MAP = "hash-map"


@dataclass(frozen=True)
class NearImage:
    """The file behind an export, for a worker that has it: `format` as QEMU names it.

    `inode` is the file's at the time when the export was opened: one that has taken its place since is another.
    """

    path: str
    format: str
    inode: int | None = None


@dataclass(frozen=True)
class ExportedDisk:
    """A disk served over NBD. `uri` follows the NBD URI specification (nbd, nbds, nbd+unix, nbds+unix).

    `dirty_context` is the meta context that tells changed blocks ("qemu:dirty-bitmap:…"), flag bit 0 meaning changed.
    `tls_certificates` is a directory with ca-cert.pem, client-cert.pem, client-key.pem on the worker, for nbds URIs.
    `image` is given only where the provider knows that the worker sees the server's files, and for a source only if
    nothing writes to it: a copy then spares itself the way through the server.
    """

    disk_id: str
    uri: str
    size_bytes: int
    changes: ChangeSource = ChangeSource.ALLOCATION
    dirty_context: str | None = None
    tls_certificates: str | None = None
    image: NearImage | None = None


@dataclass(frozen=True)
class Reading:
    """One consistent point in time of all disks of a machine, open for reading.

    `point` is its identity: data read under another point must not be mixed with it. It is the caller's `point`,
    or that name plus a suffix if the earlier reading under it was lost and another had to be opened.
    """

    point: str
    disks: tuple[ExportedDisk, ...]


class HostNetwork:
    """The network agent of the worker's own machine: its socket, and Keystone's id of the project that it is asked for.

    `find_project` asks Keystone when first needed and returns None where there is none (noauth).
    """

    def __init__(self, socket: Path, find_project: Callable[[], str | None]) -> None:
        self.socket = socket
        self._find_project = find_project

    @cached_property
    def project_id(self) -> str | None:
        """The project whose networks are used: the caller's, never one that an endpoint or an environment names."""
        return self._find_project()


class Provider(ABC):
    """Common to sources and destinations.

    `host_network` is set by the worker where it has a network agent beside it; None: there is none.
    `operators_keys` are keys of connection details that are refused, with the option in `[worker]` in their place.
    """

    platform: ClassVar[str]
    capabilities: ClassVar[Capability]
    operators_keys: ClassVar[Mapping[str, str]] = {}
    host_network: HostNetwork | None = None

    def __init__(self, connection: Mapping[str, Any], premises: Premises = NOTHING) -> None:
        """Take connection details that fit `connection_schema`; connect when first needed.

        `premises` is what may be used of the worker's machine: no path there comes from the connection details.
        """
        self.connection = connection
        self.premises = premises

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - a provider without connections has nothing to close
        """Give back connections. Calling it twice is fine."""

    @classmethod
    def is_local(cls, connection: Mapping[str, Any]) -> bool:  # noqa: ARG003 - for providers that can be local
        """Tell whether it leads to the worker's own machine or borrows its keys: its operator must have allowed it."""
        return False

    @classmethod
    @abstractmethod
    def connection_schema(cls) -> dict[str, Any]:
        """Return the JSON schema (draft 7) of the connection details."""

    @abstractmethod
    def validate_connection(self) -> None:
        """Return if the cloud answers and accepts the credentials within some seconds; raise if not."""

    @abstractmethod
    def list_machines(self, name_pattern: str | None = None) -> Sequence[Machine]:
        """Return all machines ordered by id; `name_pattern` is a regular expression (`patterns`) searched in names.

        Disks and NICs may be left empty here: `get_machine` gives them.
        """

    @abstractmethod
    def get_machine(self, instance: str) -> Machine:
        """Return one machine by id or name, whole."""

    @abstractmethod
    def list_networks(self) -> Sequence[Network]:
        """Return the networks that machines can use, ordered by name."""

    @abstractmethod
    def list_storage(self) -> tuple[Sequence[StorageBackend], str | None]:
        """Return the storage back ends ordered by name, and the id of the default one if there is one."""


class SourceProvider(Provider):
    """A cloud that machines leave. It never alters a machine beyond its own checkpoint or snapshot."""

    @classmethod
    @abstractmethod
    def source_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of the source environment."""

    @abstractmethod
    def source_options(self, environment: Environment) -> Sequence[EnvironmentOption]:
        """Return the keys of the source environment with the values possible now."""

    @abstractmethod
    def validate_source(self, instance: str, environment: Environment) -> Machine:
        """Return the machine if it can be replicated; raise with the reason if not. Changes nothing."""

    @abstractmethod
    def open_reading(
        self,
        transfer_id: str,
        instance: str,
        environment: Environment,
        *,
        point: str,
        since: str | None,
        report: Report,
    ) -> Reading:
        """Open one consistent point in time of all disks, exported read-only over NBD.

        `since` is the point of the last completed pass: with it, disks that can track changes come as DIRTY_BITMAP and
        the others as HASH_MAP; if the cloud has lost `since`, all come as HASH_MAP and an event says so. Without it
        all come as ALLOCATION. Works for running and for stopped machines; a stopped one's guest never runs.
        Already done: a reading of the same transfer and `point` still open is returned again, same `point`.
        """

    @abstractmethod
    def close_reading(self, transfer_id: str, instance: str, *, keep: str | None) -> None:
        """Stop exporting. Remove all this transfer's checkpoints or snapshots but `keep`; None removes all.

        Already done: nothing open and nothing to remove is success; so is a machine that is gone.
        A machine that `open_reading` had to wake for reading is back as it was.
        """

    @abstractmethod
    def shut_down(self, instance: str, environment: Environment, report: Report) -> bool:
        """Ask the guest to stop and wait until it has. Return whether this call did it (False: it was off).

        Raises `StepFailed` if the guest does not obey in the environment's time; the machine then runs on.
        """

    @abstractmethod
    def start(self, instance: str) -> None:
        """Start the machine. Already done: it runs."""


class DestinationProvider(Provider):
    """A cloud that machines arrive in."""

    @classmethod
    @abstractmethod
    def destination_schema(cls) -> dict[str, Any]:
        """Return the JSON schema of the destination environment."""

    @abstractmethod
    def destination_options(self, environment: Environment) -> Sequence[EnvironmentOption]:
        """Return the keys of the destination environment with the values possible now."""

    def capacity(self) -> Capacity:
        """Return what one more machine may be, as far as the cloud tells; nothing is known here. Changes nothing."""
        return Capacity()

    @abstractmethod
    def validate_destination(
        self,
        transfer_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DiskMapping],
        nics: Sequence[NicMapping],
    ) -> None:
        """Return if this machine can arrive: storage and networks exist, space is free, firmware and buses are known.

        Space already taken by this transfer's own disks counts as free. Changes nothing.
        """

    @abstractmethod
    def ensure_disks(
        self, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
    ) -> Sequence[DestinationDisk]:
        """Make the replica's disks. Already done: an equal disk of this transfer exists; one too small is grown.

        If it fails, the disks that this very call made are gone again. After a crash in its midst it is called again,
        if only to learn the names of what must be deleted.
        """

    def adopt_machine(
        self,
        transfer_id: str,  # noqa: ARG002 - for providers that can
        instance: str,  # noqa: ARG002
        machine: str,  # noqa: ARG002
        disks: Sequence[DiskMapping],  # noqa: ARG002
        report: Report,  # noqa: ARG002
    ) -> Sequence[DestinationDisk]:
        """Make the replica's disks of a transfer as copies of those of `machine` of this cloud, in their order.

        `ensure_disks` finds them afterwards. The machine must be off (`StepFailed`) and stays as it is. Returns none
        if it is gone, or its disks cannot be had in this way: then all is copied from the source. Already done: copied
        again.
        """
        return ()

    @abstractmethod
    def delete_disks(self, disks: Sequence[DestinationDisk]) -> None:
        """Delete disks that `ensure_disks` or `clone_disks` made. Already done: they are gone."""

    @abstractmethod
    def open_writing(self, owner: str, disks: Sequence[DestinationDisk]) -> Sequence[ExportedDisk]:
        """Export disks for writing over NBD under the name `owner` (a transfer's or deployment's id and instance).

        Already done: the export of the same owner still answers and is returned again; a dead one is made anew.
        """

    @abstractmethod
    def close_writing(self, owner: str) -> None:
        """Flush and stop the export. Already done: there is none."""

    @abstractmethod
    def clone_disks(
        self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy the replica's disks inside the cloud, for one deployment.

        Already done: a complete clone exists; an incomplete one is made again.
        """

    def delete_clones(self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
        """Delete the deployment's clones of the replica's `disks`, complete or not. Already done: there are none.

        Called when a `clone_disks` was cut short too. A provider that finds clones by their names overrides this;
        here they are found by completing them.
        """
        self.delete_disks(self.clone_disks(deployment_id, instance, disks, Silence()))

    @abstractmethod
    def create_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Keep the disks' present content for `restore_snapshots`. Already done: it is kept."""

    @abstractmethod
    def restore_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Bring back the kept content. Calling it twice brings it back twice, which is the same."""

    @abstractmethod
    def delete_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Forget the kept content. Already done: nothing is kept."""

    @abstractmethod
    def create_machine(
        self,
        deployment_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DestinationDisk],
        nics: Sequence[NicMapping],
    ) -> DeployedMachine:
        """Define the machine, off. Already done: this deployment's machine exists.

        Where a cloud makes a machine only by starting it, all else is made here, and an id of the provider's own, which
        `get_machine` knows, stands for the machine until `boot_machine` gives it the cloud's.
        """

    @abstractmethod
    def boot_machine(self, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:
        """Start the machine and watch until the probe passes or its time is over; the console is read from the start.

        Already done: a machine that runs is watched on; if its probe needs console lines that are gone, it is reset
        first (nobody uses it before the deployment is COMPLETED). The result's `machine` is set where its id is new.
        """

    @abstractmethod
    def delete_machine(self, deployment_id: str, machine_name: str) -> None:
        """Stop and remove this deployment's machine, not its disks. Already done: it is gone."""
