"""How processes of Isthmus make themselves known: asked for by host, and told by themselves now and then."""

from typing import Any

from temporalio import workflow

from isthmus.migration.workflows.calls import DESCRIBE_SERVICE, RECORD_SERVICE, ServiceFacts
from isthmus.migration.workflows.policies import CONTROL, INTRODUCTION


@workflow.defn(name="AskService")
class AskService:
    """Have whoever serves a queue describe itself; fails in seconds if nobody does."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> dict[str, Any]:
        """Return `ServiceFacts` as JSON."""
        answer: dict[str, Any] = await workflow.execute_activity(
            DESCRIBE_SERVICE, task_queue=str(argument["queue"]), result_type=dict[str, Any], **INTRODUCTION
        )
        return answer


@workflow.defn(name="RecordService")
class RecordService:
    """Write down what a worker, which has no database, tells of itself."""

    @workflow.run
    async def run(self, facts: ServiceFacts) -> None:
        """Record it."""
        await workflow.execute_activity(RECORD_SERVICE, facts, **CONTROL)
