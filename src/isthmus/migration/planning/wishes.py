"""Which steps need a place on a worker of their own choice, and what they want there. Pure."""

from isthmus.migration.model import TaskType
from isthmus.migration.planning.placement import DEFAULT_REGION, Use, UseKind, Wish
from isthmus.migration.planning.steps import Step
from isthmus.migration.planning.work import EndpointRef, Facts, Work

MAPPED_CHUNK = 64 * 1024
MAP_RECORD = 16
MAP_HEAD = 8192
"""A state file of `migration.disks.state` has a head and one record for each chunk of its disk."""

_GIB = 1 << 30

MOVES_DISKS = frozenset({TaskType.REPLICATE_DISKS})
READS_SOURCE = frozenset({TaskType.HASH_SOURCE_DISKS})
READS_DESTINATION = frozenset({TaskType.COMPARE_DESTINATION_DISKS})
NEEDS_PLACE = MOVES_DISKS | READS_SOURCE | READS_DESTINATION
TIDIES_MAPS = frozenset({TaskType.DELETE_TRANSFER_SOURCE_RESOURCES, TaskType.DELETE_TRANSFER_SOURCE_DISK_SNAPSHOTS})
"""What forgets hash maps runs where they lie."""


def map_bytes(size_bytes: int) -> int:
    """Return what the journal and hash map of a disk of this size takes at most."""
    return MAP_HEAD + -(-size_bytes // _GIB) + -(-size_bytes // MAPPED_CHUNK) * MAP_RECORD


def wish_of(step: Step, work: Work, facts: Facts) -> Wish | None:
    """Return what a step wants of a worker; None for one that any worker of its region may take."""
    if step.task_type in MOVES_DISKS:
        return Wish(
            near=_regions(work.origin),
            near_platform=work.origin.type,
            far=_regions(work.destination),
            far_platform=work.destination.type,
            staging_bytes=sum(map_bytes(disk.size_bytes) for disk in facts.replica.disks),
            uses=(_hypervisor(work.origin), _hypervisor(work.destination), *_datastores(work, facts), _link(work)),
            home=facts.replica.copied_by,
        )
    if step.task_type in READS_SOURCE:
        return Wish(_regions(work.origin), work.origin.type, uses=(_hypervisor(work.origin),))
    if step.task_type in READS_DESTINATION:
        uses = (_hypervisor(work.destination), *_datastores(work, facts))
        return Wish(_regions(work.destination), work.destination.type, uses=uses)
    if step.task_type in TIDIES_MAPS and facts.replica.copied_by is not None:
        return Wish(_regions(work.origin), work.origin.type, home=facts.replica.copied_by, reserve=False)
    return None


def _regions(endpoint: EndpointRef) -> tuple[str, ...]:
    return endpoint.mapped_regions or (DEFAULT_REGION,)


def _hypervisor(endpoint: EndpointRef) -> Use:
    return Use(UseKind.HYPERVISOR, endpoint.id)


def _datastores(work: Work, facts: Facts) -> tuple[Use, ...]:
    storages = sorted({disk.storage for disk in facts.replica.disks})
    return tuple(Use(UseKind.DATASTORE, f"{work.destination.id}/{storage}") for storage in storages)


def _link(work: Work) -> Use:
    return Use(UseKind.LINK, f"{_regions(work.origin)[0]} -> {_regions(work.destination)[0]}")
