"""What is done with a minion pool: allocate, refresh, deallocate.

No provider needs machines of its own to move disks or to change guests, so a pool's machines are places: the cloud is
asked whether it answers, and the places are made or taken away. Each move is guarded; a pool that was deallocated by
force meanwhile is left alone.
"""

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

from isthmus.control.engine import from_failure
from isthmus.control.queues import worker_queue
from isthmus.migration.model import PoolStatus
from isthmus.migration.reporting import Level
from isthmus.migration.workflows.calls import ANSWER_QUESTION, BEGIN_POOL_ACTION, MOVE_POOL, Inquiry, PoolMove
from isthmus.migration.workflows.policies import CONTROL, QUESTION

ALLOCATE, REFRESH, DEALLOCATE = "allocate", "refresh", "deallocate"


@workflow.defn(name="MinionPoolAction")
class MinionPoolAction:
    """Carry out one action, whose first status the API has set."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> str:
        """Return the action, or what ended it."""
        pool_id, action = str(argument["pool_id"]), str(argument["action"])
        try:
            if action != DEALLOCATE:
                await self._ask_cloud(argument)
        except ActivityError as failure:
            error = from_failure(failure)
            await self._move(PoolMove(pool_id, PoolStatus.ERROR, f"{action} failed: {error.message}", Level.ERROR))
            return error.code
        for move in moves_of(pool_id, action):
            if not await self._move(move):
                return "overtaken"
        return action

    async def _move(self, move: PoolMove) -> bool:
        moved: bool = await workflow.execute_activity(MOVE_POOL, move, result_type=bool, **CONTROL)
        return moved

    async def _ask_cloud(self, argument: dict[str, Any]) -> None:
        inquiry = await workflow.execute_activity(BEGIN_POOL_ACTION, argument, result_type=Inquiry, **CONTROL)
        queue = worker_queue(inquiry.endpoint.mapped_regions)
        await workflow.execute_activity(ANSWER_QUESTION, inquiry, task_queue=queue, **QUESTION)


def moves_of(pool_id: str, action: str) -> Sequence[PoolMove]:
    """Return the moves that follow when the cloud has answered."""
    match action:
        case "allocate":
            return (
                PoolMove(pool_id, PoolStatus.ALLOCATING_SHARED_RESOURCES, "the endpoint's cloud answers"),
                PoolMove(pool_id, PoolStatus.ALLOCATING_MACHINES, "the provider needs no shared resources"),
                PoolMove(pool_id, PoolStatus.ALLOCATED, "the pool's machines are ready", settle=True),
            )
        case "refresh":
            return (PoolMove(pool_id, PoolStatus.ALLOCATED, "the endpoint's cloud answers", settle=True),)
        case _:
            return (
                PoolMove(pool_id, PoolStatus.DEALLOCATING_SHARED_RESOURCES, "the machines are gone", settle=True),
                PoolMove(pool_id, PoolStatus.DEALLOCATED, "nothing of the pool is left"),
            )
