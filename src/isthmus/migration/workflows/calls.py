"""What workflows and activities say to each other. JSON-able facts, free of secrets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from isthmus.migration.model import ExecutionStatus, PoolStatus, TaskStatus
from isthmus.migration.planning.placement import Wish
from isthmus.migration.planning.steps import Step
from isthmus.migration.planning.work import EndpointRef, Facts, Work
from isthmus.migration.reporting import Level, Progress

RUN_STEP = "run_step"
ANSWER_QUESTION = "answer_question"
BEGIN_EXECUTION = "begin_execution"
BEGIN_FORGET = "begin_forget"
END_FORGET = "end_forget"
BEGIN_STEP = "begin_step"
END_STEP = "end_step"
FINISH_EXECUTION = "finish_execution"
TAKE_MINIONS = "take_minions"
RELEASE_MINIONS = "release_minions"
BEGIN_POOL_ACTION = "begin_pool_action"
MOVE_POOL = "move_pool"
DESCRIBE_SERVICE = "describe_service"
RECORD_SERVICE = "record_service"
RECORD_WORKER = "record_worker"
KEEP_LEASE = "keep_lease"
ADVANCE_WAVE = "advance_wave"
RECEIVE_DISKS = "receive_disks"
RELAY_DISKS = "relay_disks"
STAGE_DISKS = "stage_disks"
FORWARD_DISKS = "forward_disks"
REMOVE_STAGED = "remove_staged"
TAKE_ROOM = "take_room"
GIVE_ROOM = "give_room"
ASK_RECEIVER = "ask_receiver"
TELL_SENDER = "tell_sender"
INTRODUCE_RECEIVER = "introduce_receiver"
RECEIVER_OF = "receiver_of"

PLACED = "placed"
"""The signal that tells a workflow which of its steps has got its place."""

EVENTS_OF_AN_ATTEMPT = 10_000
"""Each attempt at a step numbers its events from its own multiple of this: all attempts' events are kept, in order."""

ATTEMPTS_OF_A_ROUND = 100
"""More attempts than `policies` gives a step before it has failed and waits to be retried by hand."""

FIRST_NUMBER = {RUN_STEP: 0, FORWARD_DISKS: 50}
"""Where the attempts of what belongs to a step are counted from: those of its second leg follow those of its first."""

COUNTED_FORWARDS = 48
"""Attempts at a second leg whose events are kept: one may be tried for days, and a round has so many numbers."""


@dataclass(frozen=True)
class Plan:
    """An execution ready to run: what was asked, its steps, and what is known of each instance.

    `pools` names, by instance, the minion pools of which it needs a machine before its first step.
    """

    work: Work
    steps: tuple[Step, ...]
    facts: dict[str, Facts]
    pools: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class StepCall:
    """One step for a worker. `round` counts how often it was retried by hand, or moved to another worker.

    `bandwidth` are the bytes per second that it was given of the worker's link; 0: as many as the worker itself allows.
    """

    step: Step
    work: Work
    facts: Facts
    round: int = 0
    bandwidth: int = 0


@dataclass(frozen=True)
class NumberedEvent:
    """An event with its place among the task's events, by which it is recorded exactly once."""

    index: int
    level: Level
    message: str


@dataclass(frozen=True)
class Notes:
    """What a step has told so far: heartbeats carry the latest, the outcome carries all."""

    events: tuple[NumberedEvent, ...] = ()
    progress: tuple[Progress, ...] = ()
    host: str = ""
    process_id: int = 0


@dataclass(frozen=True)
class StepOutcome:
    """What a successful step learned. `result` is for the task's row.

    `staged`: its disks are not at the destination yet, but on a worker, in the area with this identity.
    """

    facts: Facts
    result: dict[str, Any] | None = None
    notes: Notes = field(default_factory=Notes)
    staged: str = ""


@dataclass(frozen=True)
class StepStart:
    """A step is about to run; `again`: one that has failed and is retried.

    `wish`: what it wants of a worker, None if any worker of its region may take it. `lost` is the worker that was given
    it and did not take it up.
    """

    execution_id: str
    step_id: str
    again: bool = False
    wish: Wish | None = None
    lost: str | None = None


@dataclass(frozen=True)
class StepBegun:
    """Whether a step runs now, and where. `queue` and `worker` are None for any worker of the step's region.

    `waits`: it is in line for a place and asks again. `refused`: why no worker could ever hold it. `origin` and
    `destination` are how its transfer's endpoints are connected to by now; None: as the plan says.
    """

    begun: bool = True
    queue: str | None = None
    worker: str | None = None
    bandwidth: int = 0
    waits: bool = False
    refused: str | None = None
    origin: Mapping[str, Any] | None = None
    destination: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class StepEnd:
    """A step has ended: what its row and its transfer shall say. `facts` is None when nothing was learned.

    `held`: the step is not undone yet; this text tells what it waits for. `placed`: it may have a place to give back.
    """

    execution_id: str
    step_id: str
    status: TaskStatus
    notes: Notes = field(default_factory=Notes)
    facts: Facts | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    held: str | None = None
    placed: bool = False


@dataclass(frozen=True)
class Finish:
    """An execution has ended. `error` explains a failure that belongs to no step."""

    execution_id: str
    status: ExecutionStatus
    error: str | None = None


@dataclass(frozen=True)
class ReceiverWanted:
    """A sender asks for a receiver beside the destination. `visit` (32 hex) is this attempt; the certificate is PEM.

    `relay` is the region whose worker both are to connect to, where neither can connect to the other. `stage` is the
    region whose worker is to store the disks: `sizes` are theirs, `room` the bytes that it needs. Without a certificate
    it is that worker which asks, for the second leg: the receiver is to connect to it.
    """

    step_id: str
    visit: str
    certificate: str
    relay: str = ""
    stage: str = ""
    sizes: tuple[int, ...] = ()
    room: int = 0


@dataclass(frozen=True)
class ReceiveCall:
    """What a receiver is for: its sender's step, and the certificate that the sender shows; none is one by a relay."""

    call: StepCall
    visit: str
    certificate: str


@dataclass(frozen=True)
class RelayCall:
    """What a relay is to join: so many disks of a sender and a receiver, each with a visit and a certificate."""

    disks: int
    sender: str
    sender_certificate: str
    receiver: str
    receiver_certificate: str


@dataclass(frozen=True)
class StageCall:
    """What a worker is to store: the disks of a step's copy, of these sizes, from the sender with this certificate."""

    step_id: str
    visit: str
    certificate: str
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class ForwardCall:
    """The second leg of a copy: what its first has learned, and the sizes of the disks that are staged."""

    call: StepCall
    first: StepOutcome
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class ReceiverOffer:
    """Where a receiver, or a relay for both ends, listens and which certificate it shows.

    Without a `host` its worker has no data channel. `visit` is the sender's. `staging` is the identity of the area
    where a worker stores the disks.
    """

    visit: str
    worker: str
    host: str = ""
    port: int = 0
    certificate: str = ""
    staging: str = ""


@dataclass(frozen=True)
class ReceiverIntroduced:
    """A receiver will connect to a relay, as a visit of its own (`comes_as`, 32 hex) and with this certificate."""

    visit: str
    comes_as: str
    certificate: str


@dataclass(frozen=True)
class ReceiverState:
    """How a receiver is: not ready (neither), ready, or ended by an error.

    `waits`: it waits in line for room. `introduced`: the certificate with which it will connect.
    """

    offer: ReceiverOffer | None = None
    error: str = ""
    retryable: bool = True
    waits: bool = False
    introduced: ReceiverIntroduced | None = None


class Question(StrEnum):
    """What a cloud can be asked without changing anything."""

    VALIDATE_CONNECTION = "validate_connection"
    LIST_MACHINES = "list_machines"
    GET_MACHINE = "get_machine"
    LIST_NETWORKS = "list_networks"
    LIST_STORAGE = "list_storage"
    SOURCE_OPTIONS = "source_options"
    DESTINATION_OPTIONS = "destination_options"
    INVENTORY = "inventory"


@dataclass(frozen=True)
class Inquiry:
    """A question to one cloud; `parameters` depend on the question."""

    question: Question
    endpoint: EndpointRef
    trust_id: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MinionsWanted:
    """The instances of an execution that wait for machines of these pools."""

    execution_id: str
    pools: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class MinionsServed:
    """An instance of an execution needs its machines no more."""

    execution_id: str
    instance: str


@dataclass(frozen=True)
class PoolMove:
    """A pool's next status and why. `settle`: its machines are brought to its limits with it."""

    pool_id: str
    target: PoolStatus
    message: str
    level: Level = Level.INFO
    settle: bool = False


@dataclass(frozen=True)
class ServiceFacts:
    """How a process describes itself. `diagnostics` is Coriolis' record, see `isthmus.control.diagnostics`."""

    host: str
    binary: str
    topic: str
    regions: tuple[str, ...] = ()
    providers: dict[str, Any] = field(default_factory=dict)
    diagnostics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerFacts:
    """What a worker tells of itself with its lease; the columns of its row. Bytes, and bytes per second."""

    id: str
    host: str
    process_id: int
    regions: tuple[str, ...]
    platforms: tuple[str, ...]
    slots: int
    running: int
    staging_total: int
    staging_free: int
    link_bandwidth: int = 0
    copy_limit: int = 0


@dataclass(frozen=True)
class LeaseTerm:
    """What a worker begins a term of its lease with. `staged` are the transfers of which it keeps journals and maps.

    `leaves`: it ends, and wants no further term. `areas` are the steps of which it stores disks.
    """

    facts: WorkerFacts
    staged: tuple[str, ...] = ()
    leaves: bool = False
    areas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stray:
    """A machine of a transfer whose journals and maps are of no use where they lie; or a step of which an `area` is."""

    transfer_id: str = ""
    instance: str = ""
    area: str = ""


@dataclass(frozen=True)
class WaveLook:
    """How a wave stands after a look at it, and in how many seconds to look again."""

    status: str
    ended: bool
    wait_seconds: float = 0.0
