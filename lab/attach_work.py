"""A container runtime's worker for chaos: attach and detach, cycle by cycle, whatever happens to the parts beneath.

It behaves as the kubelet does: a failed ADD is followed by DEL and another ADD for a new container, a failed DEL is
sent again until it succeeds. Some containers lose their namespace before their DEL, some are checked.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from lab.cri_calls import LATER, CniCalls, CniRefused
from lab.network_host import NetworkHost

GIVE_UP_SECONDS = 300
"""For one cycle: longer than any part takes to come back."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
"""Between two tries; runtimes wait ever longer too."""


class AttachWork(threading.Thread):
    """Cycles until `take` has no more. `answers` counts what came of all calls, `unexpected` tells the odd ones."""

    def __init__(self, name: str, host: NetworkHost, calls: CniCalls, take: Callable[[], bool], seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self._host = host
        self._calls = calls
        self._take = take
        self._lot = random.Random(seed)
        self._containers = 0
        self.done = 0
        self.answers: Counter[str] = Counter()
        self.unexpected: list[str] = []

    def run(self) -> None:
        """Work."""
        while self._take():
            try:
                self._cycle()
                self.done += 1
            except Exception as error:  # noqa: BLE001 - it is the finding
                self.unexpected.append(f"{self.name}: {type(error).__name__}: {error}")

    def _cycle(self) -> None:
        deadline = time.monotonic() + GIVE_UP_SECONDS
        pause = FIRST_PAUSE_SECONDS
        while not self._attached_once(deadline):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing could be attached within {GIVE_UP_SECONDS} s")
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _attached_once(self, deadline: float) -> bool:
        """Attach one container and detach it again; return whether it was attached."""
        self._containers += 1
        container = f"{self.name}-{self._containers}"
        namespace = contextlib.ExitStack()
        with namespace:
            netns = namespace.enter_context(self._calls.namespace(container))
            result = self._ask("ADD", lambda: self._calls.add(container, netns))
            if result and self._lot.random() < 0.3:
                self._check(container, netns, result)
            if self._lot.random() < 0.2:
                namespace.close()
            while not self._ask("DEL", lambda: self._deleted(container, netns)):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{container} could not be detached within {GIVE_UP_SECONDS} s")
                time.sleep(0.2)
        return bool(result)

    def _check(self, container: str, netns: str, result: dict[str, object]) -> None:
        # In the middle of a kill something may be missing; the verdict at the end tells whether it was mended.
        try:
            self._calls.check(container, netns, result)
            self.answers["CHECK ok"] += 1
        except CniRefused as error:
            self.answers[f"CHECK {error.number}"] += 1

    def _deleted(self, container: str, netns: str) -> dict[str, object]:
        self._calls.delete(container, netns)
        return {"container": container}

    def _ask(self, command: str, call: Callable[[], dict[str, object]]) -> dict[str, object]:
        try:
            answer = call()
        except CniRefused as error:
            self.answers[f"{command} {error.number}"] += 1
            if error.number != LATER:
                self.unexpected.append(f"{self.name}: {command}: {error}")
            return {}
        self.answers[f"{command} ok"] += 1
        return answer
