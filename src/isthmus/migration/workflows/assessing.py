"""The workflow of an assessment: list, look at some machines at a time, write down, until all are done.

Where it stands is in the database, so it begins itself anew now and then to keep its history short, however many
machines there are. Nothing is changed at any cloud.
"""

from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from isthmus.control.engine import from_failure
from isthmus.control.queues import worker_queue
from isthmus.migration.planning.concerns import Arrival, Observed
from isthmus.migration.workflows.assessment_calls import (
    END_ASSESSMENT,
    LIST_INSTANCES,
    NEXT_BATCH,
    OUTLINE_ASSESSMENT,
    RECORD_BATCH,
    RECORD_LISTING,
    SURVEY_DESTINATION,
    SURVEY_SOURCE,
    AssessmentEnd,
    Batch,
    Cloud,
    DestinationSurvey,
    Listing,
    Outline,
    SourceSurvey,
)
from isthmus.migration.workflows.policies import CONTROL, LOOK

BATCHES_OF_A_RUN = 40


@workflow.defn(name="Assessment")
class Assessment:
    """Find what stands in the way of migrating some machines, or all of an endpoint."""

    @workflow.run
    async def run(self, argument: dict[str, Any]) -> None:
        """Assess all that is left; an assessment that was deleted meanwhile is left as it is."""
        assessment_id = str(argument["assessment_id"])
        error = None
        try:
            outline = await workflow.execute_activity(
                OUTLINE_ASSESSMENT,
                assessment_id,
                result_type=Outline | None,  # type: ignore[arg-type] # pydantic takes it
                **CONTROL,
            )
            if outline is None:
                return
            if not outline.listed:
                await self._list(assessment_id, outline)
            for _ in range(BATCHES_OF_A_RUN):
                instances = await workflow.execute_activity(NEXT_BATCH, assessment_id, result_type=list[str], **CONTROL)
                if not instances:
                    break
                await self._assess(assessment_id, outline, instances)
            else:
                workflow.continue_as_new(argument)
        except ActivityError as failure:
            if is_cancelled_exception(failure):
                raise
            error = from_failure(failure).message
        await workflow.execute_activity(END_ASSESSMENT, AssessmentEnd(assessment_id, error), **CONTROL)

    async def _list(self, assessment_id: str, outline: Outline) -> None:
        found = await workflow.execute_activity(
            LIST_INSTANCES,
            Cloud(outline.endpoint, outline.trust_id),
            task_queue=worker_queue(outline.endpoint.mapped_regions),
            result_type=list[str],
            **LOOK,
        )
        await workflow.execute_activity(RECORD_LISTING, Listing(assessment_id, tuple(found)), **CONTROL)

    async def _assess(self, assessment_id: str, outline: Outline, instances: list[str]) -> None:
        asked = SourceSurvey(outline.endpoint, outline.trust_id, outline.source_environment, tuple(instances))
        observed = await workflow.execute_activity(
            SURVEY_SOURCE,
            asked,
            task_queue=worker_queue(outline.endpoint.mapped_regions),
            result_type=list[Observed],
            **LOOK,
        )
        arrival = None
        if outline.destination is not None:
            arrival = await workflow.execute_activity(
                SURVEY_DESTINATION,
                DestinationSurvey(outline.destination, outline.trust_id, outline.wishes, tuple(observed)),
                task_queue=worker_queue(outline.destination.mapped_regions),
                result_type=Arrival,
                **LOOK,
            )
        batch = Batch(assessment_id, outline.wishes, tuple(observed), arrival)
        await workflow.execute_activity(RECORD_BATCH, batch, **CONTROL)
