"""What a plan starts from, and what is known of each instance while it is carried out. Facts only, JSON-able.

Nothing here holds a secret: endpoints carry the reference of their connection details' secret.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isthmus.migration.machine import DeployedMachine, DestinationDisk, DiskMapping, Machine, NicMapping
from isthmus.migration.planning.comparing import SideHashes


@dataclass(frozen=True)
class EndpointRef:
    """A cloud to talk to. `connection_info` is `{"secret_ref": …}`; `mapped_regions` say which workers reach it."""

    id: str
    type: str
    connection_info: Mapping[str, Any] = field(default_factory=dict)
    mapped_regions: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeploymentTest:
    """A deployment that shows whether machines live, on a network of their own, and then removes them.

    They stay for `minutes` after their proof, for people to look at; a cancel ends that time.
    """

    network: str
    minutes: int = 0


@dataclass(frozen=True)
class Work:
    """What one execution was asked to do, copied from the transfer, the deployment and their endpoints."""

    execution_id: str
    execution_type: str
    transfer_id: str
    origin: EndpointRef
    destination: EndpointRef
    instances: tuple[str, ...]
    trust_id: str | None = None
    deployment_id: str | None = None
    source_environment: Mapping[str, Any] = field(default_factory=dict)
    destination_environment: Mapping[str, Any] = field(default_factory=dict)
    network_map: Mapping[str, str] = field(default_factory=dict)
    storage_mappings: Mapping[str, Any] = field(default_factory=dict)
    user_scripts: Mapping[str, Any] = field(default_factory=dict)
    shutdown_instances: bool = False
    keep_partial: bool = False
    hold_on_error: bool = False
    clone_disks: bool = True
    skip_os_morphing: bool = False
    force: bool = False
    test: DeploymentTest | None = None
    luks_secret_ref: str | None = None


@dataclass(frozen=True)
class Replica:
    """What a transfer keeps of one instance between executions: `transfer.info[instance]`.

    `disks` are the replica's disks; none before the first execution and after a deployment took them for its machine.
    `point` is the source's point in time that they hold, None until a pass was complete. `tainted`: something else
    has written to the disks since, so only a comparison can trust them. `partial`: the first pass stopped in its midst
    and what it had copied is kept, for the next one to go on. `home` is a machine at the destination, off, whose disks
    hold most of it already. `copied_by` is the worker that copied last: the hash maps lie there. `generation` names the
    series of passes that those belong to. `stopped_by` is the execution that shut the source down; None: not us.
    `deployed`: a deployment has succeeded since the source was last seen running, so the source must stay off.
    `last_pass` and `last_verification` are for people, see `isthmus.migration.store.recording`.
    """

    machine: Machine | None = None
    disks: tuple[DestinationDisk, ...] = ()
    point: str | None = None
    stopped_by: str | None = None
    tainted: bool = False
    partial: bool = False
    home: str | None = None
    copied_by: str | None = None
    deployed: bool = False
    generation: str | None = None
    source_stopped_at: str | None = None
    last_pass: dict[str, Any] | None = None
    last_verification: dict[str, Any] | None = None


@dataclass(frozen=True)
class Facts:
    """All that is known of one instance during one execution. Each step returns them with what it learned.

    `source_ran`: the machine was running when this execution looked first, so a later "off" is our doing.
    `snapshots_kept`: the replica's content before the deployment can be brought back.
    `hashes`: what a verification has read at the source.
    """

    replica: Replica = field(default_factory=Replica)
    source_ran: bool = False
    disk_mappings: tuple[DiskMapping, ...] = ()
    nic_mappings: tuple[NicMapping, ...] = ()
    snapshots_kept: bool = False
    disks: tuple[DestinationDisk, ...] = ()
    deployed: DeployedMachine | None = None
    result: dict[str, Any] = field(default_factory=dict)
    hashes: tuple[SideHashes, ...] = ()
