"""The workflow of a wave, started by the outbox under the id `wave-<wave id>-<run>`.

It only asks again and again what is to be done next (`wave_control`): at once when it is told that something has
changed, and now and then in any case. All it knows is in the database, so a new one can take its place at any time.
"""

from datetime import timedelta
from typing import Any

from temporalio import workflow

from isthmus.migration.workflows.calls import ADVANCE_WAVE, WaveLook
from isthmus.migration.workflows.policies import CONTROL

LOOKS_OF_A_RUN = 1000
"""After so many looks the workflow goes on as a new run, so that its history stays small."""


@workflow.defn(name="Wave")
class Wave:
    """Look, wait, look again, until the wave has ended."""

    def __init__(self) -> None:
        self._told = False

    @workflow.signal(name="look")
    def look(self) -> None:
        """Look at once."""
        self._told = True

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> str:
        """Return the wave's last status."""
        looks = 0
        while True:
            self._told = False
            seen = await workflow.execute_activity(ADVANCE_WAVE, argument, result_type=WaveLook, **CONTROL)
            looks += 1
            if seen.ended:
                return str(seen.status)
            if looks == LOOKS_OF_A_RUN:
                workflow.continue_as_new(argument)
            try:
                await workflow.wait_condition(lambda: self._told, timeout=timedelta(seconds=seen.wait_seconds))
            except TimeoutError:
                continue
