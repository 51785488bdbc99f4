"""A question to a cloud, answered by a worker beside it."""

from typing import Any

from temporalio import workflow

from isthmus.control.queues import worker_queue
from isthmus.migration.workflows.calls import ANSWER_QUESTION, Inquiry
from isthmus.migration.workflows.policies import QUESTION


@workflow.defn(name="AskProvider")
class AskProvider:
    """Have one worker ask; nothing is kept."""

    @workflow.run
    async def run(self, inquiry: Inquiry) -> dict[str, Any]:
        """Return the answer; see `questions.answer`."""
        answer: dict[str, Any] = await workflow.execute_activity(
            ANSWER_QUESTION,
            inquiry,
            task_queue=worker_queue(inquiry.endpoint.mapped_regions),
            result_type=dict[str, Any],
            **QUESTION,
        )
        return answer
