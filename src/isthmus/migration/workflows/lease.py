"""A worker's lease: one long activity on the worker's own queue. Its heartbeats are the worker's.

The engine itself watches over them: when they lapse, the workflow ends, and so does the lease. Nothing but heartbeats
happens every few seconds, and those leave no history.
"""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from isthmus.control.queues import own_queue
from isthmus.migration.workflows.calls import KEEP_LEASE, RECORD_WORKER, LeaseTerm, Stray
from isthmus.migration.workflows.policies import CONTROL, LEASE


def lease_id(worker_id: str) -> str:
    """Return the id of the workflow that is a worker's lease."""
    return f"worker-{worker_id}"


@workflow.defn(name="WorkerLease")
class WorkerLease:
    """Begun by the worker. It is renewed from time to time, so that a database that was lost learns of it again."""

    @workflow.run
    async def run(self, term: LeaseTerm) -> str:
        """Return how the lease ended."""
        strays = await workflow.execute_activity(RECORD_WORKER, term, result_type=list[Stray], **CONTROL)
        try:
            following = await workflow.execute_activity(
                KEEP_LEASE,
                strays,
                activity_id=KEEP_LEASE,
                task_queue=own_queue(term.facts.id),
                result_type=LeaseTerm,
                **LEASE,
            )
        except ActivityError:
            return "lapsed"
        if not following.leaves:
            workflow.continue_as_new(following)
        return "left"
