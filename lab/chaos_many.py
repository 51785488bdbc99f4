"""Rounds of a chaos run with small machines, several at once (`lab.chaos_operations`).

In each round one part is killed once, at a moment that is a share of the time that the same kind takes undisturbed,
which the first, unharmed round of each kind measures. Then everything must end as it would have: COMPLETED, or for a
cancel CANCELED too; the bytes must be the source's; after all is deleted nothing may be left.
"""

import random
import time
from dataclasses import dataclass

from isthmus.control.errors import IsthmusError
from lab.chaos_ground import NBD_SERVER, Ground
from lab.chaos_operations import KINDS, Cancels
from lab.chaos_round import Verdict

MACHINES = 3
PARTS = ("worker", "conductor", "temporal", "worker", "api", NBD_SERVER, "conductor", "mariadb", "keystone", "barbican")
"""In turn; the worker and the conductor, whose death costs most, twice."""
LEFT_SECONDS = 40
WEIGHTS = {"execution": 5, "deployment": 3, "cancel": 3, "failback": 2, "wave": 2, "schedule": 2}
"""How often each kind is disturbed, in proportion."""


@dataclass(frozen=True)
class Blow:
    """Kill `part` when `share` of the time is over that an operation of this kind takes undisturbed."""

    kind: str
    part: str
    share: float

    def __str__(self) -> str:
        return f"{self.part} in {self.kind} at {self.share:.0%} of its time"


def planned_blows(number: int, seed: int, only: str | None = None) -> list[Blow]:
    """Return so many blows: the kinds by their weights, the parts in turn for each kind, the moments by lot."""
    lot = random.Random(seed)
    kinds = [only] if only else [kind for kind, weight in WEIGHTS.items() for _ in range(weight)]
    blows = []
    used = dict.fromkeys(KINDS, lot.randrange(len(PARTS)))
    for index in range(number):
        kind = kinds[index % len(kinds)]
        # Without morphing nothing is served for a deployment.
        parts = [part for part in PARTS if (kind, part) != ("deployment", NBD_SERVER)]
        part = parts[used[kind] % len(parts)]
        used[kind] += 1
        # What serves images is only there while a copy goes on.
        latest = 0.5 if part == NBD_SERVER else 0.95
        blows.append(Blow(kind, part, round(lot.uniform(0.02, latest), 2)))
    return blows


class ManyRound:
    """One operation with one blow; without one it only measures how long it takes."""

    def __init__(self, ground: Ground, name: str, kind: str, blow: Blow | None, usual_seconds: float = 0.0) -> None:
        self._ground = ground
        self._operation = KINDS[kind](ground, [f"{name}-{number}" for number in range(MACHINES)])
        self._blow = blow
        self._usual = usual_seconds
        self.verdict = Verdict(str(blow) if blow else f"nothing in {kind}", kind=kind)

    def run(self) -> Verdict:
        """Do it, judge it, clean up; never raises for what the operation did."""
        began = time.monotonic()
        try:
            self._operation.prepare()
            self._disturb()
            self._judge()
        except (IsthmusError, TimeoutError, RuntimeError, LookupError) as error:
            self.verdict.problems.append(f"{type(error).__name__}: {error}")
        try:
            self._operation.tidy()
        except (TimeoutError, RuntimeError) as error:
            self.verdict.outcome = "stuck"
            self.verdict.problems.append(f"not deleted: {error}")
        deadline = time.monotonic() + LEFT_SECONDS
        while (left := self._ground.left()) and time.monotonic() < deadline:
            time.sleep(0.5)
        self.verdict.leaked = left
        self.verdict.seconds = round(time.monotonic() - began, 1)
        return self.verdict

    def _disturb(self) -> None:
        operation, began = self._operation, time.monotonic()
        operation.begin()
        struck = 0.0
        if self._blow is not None:
            moment = began + self._blow.share * self._usual
            if isinstance(operation, Cancels):
                time.sleep(max(0.0, moment - 0.3 - time.monotonic()))
                operation.go_on()
            time.sleep(max(0.0, moment - time.monotonic()))
            self.verdict.hit = operation.going()
            struck = self._strike(self._blow.part)
        self._ground.until(operation.is_over, operation.kind)
        ended = time.monotonic()
        self.verdict.usual_seconds = round(self._usual or ended - began, 2)
        if self.verdict.killed:
            self.verdict.recovery_seconds = round(ended - struck, 1)
            self._ground.plane.wait_ready()

    def _strike(self, part: str) -> float:
        """Kill, and return when it was; what serves images is waited for: it is there in the midst of a copy only."""
        while not (killed := self._ground.strike(part)) and not self._operation.is_over():
            time.sleep(0.02)
        self.verdict.killed = killed
        return time.monotonic()

    def _judge(self) -> None:
        problems = list(self._operation.problems())
        self.verdict.problems += problems
        self.verdict.wrong_bytes = sum(each.startswith("wrong bytes") for each in problems)
        if not problems:
            self.verdict.outcome = "rolled back" if self._operation.was_cancelled() else "completed"
