"""On which worker a disk step runs: what it wants + the workers as observed -> a place, or what it waits for. Pure.

A worker is a candidate if it serves a region of the cloud beside which the step runs, knows the platforms, is enabled
and up, and has a free slot, room for the step's journals and hash maps, and enough of its link. Of the candidates the
one wins that keeps the machine's hash maps already, then the nearest (by the order of the endpoints' regions, those of
both clouds counted), then the least loaded. Limits of a hypervisor, a datastore or a link hold whatever the worker.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

DEFAULT_REGION = "default"


class UseKind(StrEnum):
    """What copies may be limited on, beside the workers."""

    HYPERVISOR = "hypervisor"
    DATASTORE = "datastore"
    LINK = "link"


@dataclass(frozen=True)
class Use:
    """One thing that a step puts load on: an endpoint's id, `ENDPOINT/STORAGE`, or `REGION -> REGION`."""

    kind: UseKind
    subject: str


@dataclass(frozen=True)
class Limits:
    """The `[placement]` options: how many disk steps at once, 0 for any; `copy_bandwidth` in bytes per second."""

    hypervisor: int = 0
    datastore: int = 0
    link: int = 0
    copy_bandwidth: int = 0

    def of(self, kind: UseKind) -> int:
        """Return the limit of one kind of use; 0: none."""
        return {UseKind.HYPERVISOR: self.hypervisor, UseKind.DATASTORE: self.datastore, UseKind.LINK: self.link}[kind]


@dataclass(frozen=True)
class Wish:
    """What a step wants. `near` and `far` are clouds' regions in the order of their endpoints, nearest first.

    The step runs beside `near`; `far` is empty where it has to do with one cloud only. `staging_bytes` may come to lie
    on the worker's disk. `home` is the worker that keeps the machine's hash maps; a step that does not `reserve` runs
    there if that worker is up, without a place of its own, else anywhere. `avoid` is one that has just let it down.
    One that `stores` only has disks kept there between the legs of their way: it needs no provider, and takes none of
    the slots of steps. `shown_at` is the task that tells of it, if it is none itself.
    """

    near: tuple[str, ...]
    near_platform: str
    far: tuple[str, ...] = ()
    far_platform: str | None = None
    staging_bytes: int = 0
    uses: tuple[Use, ...] = ()
    home: str | None = None
    avoid: str | None = None
    reserve: bool = True
    stores: bool = False
    shown_at: str | None = None


@dataclass(frozen=True)
class Worker:
    """A worker as it was last heard of. Bytes, and bytes per second.

    `link_bandwidth` is what its link carries, `copy_limit` what it lets one copy have: 0 where it does not say.
    `running` are all steps and questions that it is at.
    """

    id: str
    host: str
    regions: tuple[str, ...]
    platforms: tuple[str, ...]
    slots: int
    running: int = 0
    staging_total: int = 0
    staging_free: int = 0
    link_bandwidth: int = 0
    copy_limit: int = 0
    up: bool = True
    enabled: bool = True

    @property
    def name(self) -> str:
        """How people know it."""
        return f"{self.id[:8]} on {self.host}"

    def share(self, limits: Limits) -> int:
        """Return the bytes per second of its link that one copy reserves; 0: nothing is known to reserve of."""
        wanted = [each for each in (limits.copy_bandwidth, self.copy_limit) if each]
        return min(*wanted, self.link_bandwidth) if wanted and self.link_bandwidth else 0


@dataclass(frozen=True)
class Held:
    """What one step that has its place holds."""

    worker: str
    staging_bytes: int = 0
    bandwidth: int = 0
    uses: tuple[Use, ...] = ()
    stores: bool = False


@dataclass(frozen=True)
class Place:
    """Where a step runs. `bandwidth` is its share of the worker's link, which it must keep to; 0: no limit."""

    worker: Worker
    bandwidth: int = 0


@dataclass(frozen=True)
class Wait:
    """A step cannot run yet; `reason` names what it waits for and what a person can do about it."""

    reason: str


@dataclass(frozen=True)
class Never:
    """A step that no worker could ever hold."""

    reason: str


Outcome = Place | Wait | Never


@dataclass(frozen=True)
class _Candidate:
    worker: Worker
    bandwidth: int
    steps: int
    staging_left: int
    bandwidth_left: int


def choose(wish: Wish, workers: Sequence[Worker], held: Sequence[Held], limits: Limits) -> Outcome:
    """Return the step's place, or which filter left no worker."""
    able = _able(wish, workers)
    if isinstance(able, Wait | Never):
        return able
    names = ", ".join(each.name for each in able)
    enabled = [each for each in able if each.enabled]
    if not enabled:
        return Wait(f"all workers that could take it are disabled ({names}): isthmus service update ID --enabled")
    up = [each for each in enabled if each.up]
    if not up:
        return Wait(f"all workers that could take it are silent ({names}): see that isthmus worker runs there")
    full = _full(wish, held, limits)
    return Wait(full) if full else _with_room(wish, [_candidate(wish, each, held, limits) for each in up])


def _able(wish: Wish, workers: Sequence[Worker]) -> list[Worker] | Wait | Never:
    """Return the workers that could take the step if they were up and idle."""
    near = wish.near or (DEFAULT_REGION,)
    there = ", ".join(near)
    serving = [each for each in workers if set(each.regions) & set(near)]
    if not serving:
        return Wait(f"no worker serves region {there}: start one with it in [worker] queues")
    able = [each for each in serving if _knows(each, wish)]
    if not able:
        wanted = " and ".join(filter(None, (wish.near_platform, wish.far_platform)))
        return Wait(f"no worker of region {there} has the providers {wanted}: install them beside one")
    largest = max(able, key=lambda each: (each.staging_total, each.id))
    if wish.staging_bytes > largest.staging_total:
        return Never(
            f"{wish.staging_bytes} bytes must be staged, and the largest staging_dir of region {there}, that of worker "
            f"{largest.name}, is on a file system of {largest.staging_total}: give a worker a larger one"
        )
    return able


def keeper(wish: Wish, workers: Sequence[Worker]) -> Worker | None:
    """Return the worker that keeps the machine's hash maps, if it can be reached now and still serves its region."""
    near = set(wish.near or (DEFAULT_REGION,))
    found = (each for each in workers if each.id == wish.home and each.id != wish.avoid)
    return next((each for each in found if each.up and near & set(each.regions)), None)


def serve(
    line: Mapping[str, Wish], workers: Sequence[Worker], held: Sequence[Held], limits: Limits
) -> dict[str, Outcome]:
    """Return what becomes of each step in the line, first come first served; who cannot be served holds up nobody."""
    taken = list(held)
    found: dict[str, Outcome] = {}
    # A long line is mostly alike: until a place is given, who wants the same waits for the same.
    alike: dict[Wish, Outcome] = {}
    for step_id, wish in line.items():
        # Of the candidates these choose; they make none.
        key = replace(wish, home=None, avoid=None, shown_at=None)
        outcome = found[step_id] = alike.get(key) or choose(wish, workers, taken, limits)
        if isinstance(outcome, Place):
            taken.append(Held(outcome.worker.id, wish.staging_bytes, outcome.bandwidth, wish.uses, wish.stores))
            alike.clear()
        else:
            alike[key] = outcome
    return found


def _knows(worker: Worker, wish: Wish) -> bool:
    """Whether it has the near cloud's provider, and the far one's where it is beside that too."""
    if wish.stores:
        return True
    beside_far = bool(set(worker.regions) & set(wish.far))
    wanted = {wish.near_platform} | ({wish.far_platform} if beside_far and wish.far_platform else set())
    return wanted <= set(worker.platforms)


def _full(wish: Wish, held: Sequence[Held], limits: Limits) -> str | None:
    """Return the limit that is reached, if one is."""
    at_work = Counter(use for each in held for use in each.uses)
    for use in wish.uses:
        limit = limits.of(use.kind)
        if limit and at_work[use] >= limit:
            return (
                f"{use.kind} {use.subject} has {at_work[use]} disk steps at once, and {use.kind}_copies in [placement] "
                f"is {limit}: it goes on when one ends"
            )
    return None


def _candidate(wish: Wish, worker: Worker, held: Sequence[Held], limits: Limits) -> _Candidate:
    own = [each for each in held if each.worker == worker.id]
    # A copy that waits for room at one worker holds a slot at another: were they the same slots, two could wait for
    # each other.
    return _Candidate(
        worker,
        0 if wish.stores else worker.share(limits),
        sum(each.stores == wish.stores for each in own),
        worker.staging_free - sum(each.staging_bytes for each in own),
        worker.link_bandwidth - sum(each.bandwidth for each in own),
    )


def _with_room(wish: Wish, candidates: Sequence[_Candidate]) -> Outcome:
    names = ", ".join(each.worker.name for each in candidates)
    free = [each for each in candidates if each.steps < each.worker.slots]
    if not free:
        return Wait(f"all slots are taken ({names}): it goes on when a step ends, or raise [worker] activities")
    roomy = [each for each in free if each.staging_left >= wish.staging_bytes]
    if not roomy:
        most = max(each.staging_left for each in free)
        return Wait(
            f"{wish.staging_bytes} bytes must be staged, and of what is not reserved the workers ({names}) have at "
            f"most {max(0, most)}: it goes on when steps end, or make room in [worker] staging_dir"
        )
    quick = [each for each in roomy if each.bandwidth_left >= each.bandwidth or not each.bandwidth]
    if not quick:
        return Wait(
            f"the links of the workers ({names}) are given away: it goes on when a copy ends, or lower copy_bandwidth "
            "in [placement]"
        )
    best = min(quick, key=lambda each: _rank(wish, each))
    return Place(best.worker, best.bandwidth)


def _rank(wish: Wish, each: _Candidate) -> tuple[bool, bool, int, float, float, str]:
    worker = each.worker
    load, busy = each.steps / worker.slots, worker.running / worker.slots
    return worker.id == wish.avoid, worker.id != wish.home, distance(wish, worker), load, busy, worker.id


def distance(wish: Wish, worker: Worker) -> int:
    """Return how far from both clouds a worker is: 0 if it serves the first region of each.

    Serving none of a cloud's regions is farther than serving its last one.
    """
    return _steps_away(wish.near or (DEFAULT_REGION,), worker.regions) + _steps_away(wish.far, worker.regions)


def _steps_away(wanted: Sequence[str], served: Sequence[str]) -> int:
    return next((place for place, region in enumerate(wanted) if region in served), len(wanted))
