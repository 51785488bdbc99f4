"""What fits into one execution: the engine bounds what a workflow holds, and ends one that goes past it.

Temporal takes 2 MiB in one value, 4 MiB in one message, 51,200 events and 50 MiB in one history. An execution that met
one of these would end without being undone, so it is refused before it begins. The figures were measured on machines
of three disks and two NICs: see `tests/unit/workflows/test_sizes.py`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.migration.model import MOST_INSTANCES

MOST_PLAN_BYTES = 7 << 18
"""1.75 MiB, of the 2 MiB of one value: a plan is one."""

STEPS_BYTES = 3500
"""What the steps of one machine take in a plan: up to 13 of them."""

MOST_SCRIPTS_BYTES = 3 << 19
"""1.5 MiB: the scripts of all machines may travel in one message, with what is known of them."""

WAY_ON = "name fewer of them in instances, or make several transfers and put them in a wave"


def too_many(count: int) -> str | None:
    """Return why an execution cannot take so many machines, and what to do; None if it can."""
    if count <= MOST_INSTANCES:
        return None
    return f"{count} machines are more than one execution takes ({MOST_INSTANCES}): {WAY_ON}"


def check_plan(instances: Sequence[str], info: Mapping[str, Any], scripts: Mapping[str, Any]) -> None:
    """Return if the plan of an execution of these machines fits; `InvalidInput` says what does not, and what to do.

    `info` is what their transfer knows of each, `scripts` the user scripts as stored.
    """
    if (reason := too_many(len(instances))) is not None:
        raise InvalidInput(reason)
    known = sum(_bytes(info.get(each)) for each in instances) + _bytes(scripts) + STEPS_BYTES * len(instances)
    if known > MOST_PLAN_BYTES:
        raise InvalidInput(
            f"what is known of {len(instances)} machines, with their steps and scripts, is {known} bytes; one "
            f"execution takes {MOST_PLAN_BYTES}: {WAY_ON}"
        )


def check_scripts(instances: Sequence[str], scripts: Mapping[str, Any]) -> None:
    """Return if a deployment of these machines can run their scripts; `InvalidInput` as of `check_plan`."""
    shared, own = _bytes(scripts.get("global")), scripts.get("instances") or {}
    told = sum(shared + _bytes(own.get(each)) for each in instances)
    # One machine has its scripts from one request, which is smaller than a value may be.
    if len(instances) > 1 and told > MOST_SCRIPTS_BYTES:
        raise InvalidInput(
            f"the user scripts of {len(instances)} machines are {told} bytes, counted for each machine; one execution "
            f"takes {MOST_SCRIPTS_BYTES}: {WAY_ON}"
        )


def _bytes(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode()) if value else 0
