"""The activities of a worker: one that runs any step, one that answers questions. No step's own code knows the engine.

Each runs its blocking work in a thread of the worker's pool; see `attempt`.
"""

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from isthmus.control.engine import as_failure
from isthmus.control.errors import IsthmusError, StepFailed, Unavailable
from isthmus.control.metrics import Work
from isthmus.migration.planning.concerns import Arrival, Observed
from isthmus.migration.reporting import Level
from isthmus.migration.workflows import (
    channel_steps,
    deployment_steps,
    questions,
    staging_steps,
    survey,
    transfer_steps,
    verification_steps,
)
from isthmus.migration.workflows.assessment_calls import (
    LIST_INSTANCES,
    SURVEY_DESTINATION,
    SURVEY_SOURCE,
    Cloud,
    DestinationSurvey,
    SourceSurvey,
)
from isthmus.migration.workflows.attempt import ActivityReport, Result, beat_while
from isthmus.migration.workflows.calls import (
    ANSWER_QUESTION,
    ATTEMPTS_OF_A_ROUND,
    COUNTED_FORWARDS,
    FIRST_NUMBER,
    FORWARD_DISKS,
    RECEIVE_DISKS,
    RELAY_DISKS,
    REMOVE_STAGED,
    RUN_STEP,
    STAGE_DISKS,
    ForwardCall,
    Inquiry,
    ReceiveCall,
    RelayCall,
    StageCall,
    StepCall,
    StepOutcome,
)
from isthmus.migration.workflows.meeting import EngineMeeting
from isthmus.migration.workflows.site import Site

LOG = logging.getLogger(__name__)

OLDER_ATTEMPT_SECONDS = 0.1

STEPS = {**transfer_steps.STEPS, **deployment_steps.STEPS, **verification_steps.STEPS}


class WorkerActivities:
    """What a worker offers: `all` of them where steps are taken, `receiving` where disks come from other sites.

    `pool` has a thread for each activity that may run at once.
    """

    def __init__(self, site: Site, pool: Executor, meter: Work) -> None:
        self._site = site
        self._pool = pool
        self._meter = meter
        self._attempts: dict[str, ActivityReport] = {}
        self._running = 0

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register."""
        return (
            self.run_step,
            self.answer_question,
            self.list_instances,
            self.survey_source,
            self.survey_destination,
        )

    @property
    def receiving(self) -> Sequence[Callable[..., Any]]:
        """The activities to register on a queue of receivers."""
        return (self.receive_disks, self.relay_disks)

    @property
    def storing(self) -> Sequence[Callable[..., Any]]:
        """The activities to register on the queue of what is stored here."""
        return (self.stage_disks, self.forward_disks, self.remove_staged)

    @property
    def placed(self) -> Sequence[Callable[..., Any]]:
        """The activities that a worker is given by name."""
        return (self.run_step,)

    @property
    def running(self) -> int:
        """How many steps and questions it is at."""
        return self._running

    @activity.defn(name=RUN_STEP)
    async def run_step(self, call: StepCall) -> StepOutcome:
        """Run one step and return what it learned, with all its events."""
        attempt = activity.info().attempt
        number = attempt + call.round * ATTEMPTS_OF_A_ROUND
        report = ActivityReport(attempt, number)
        await self._end_older(call.step.id)
        self._attempts[call.step.id] = report
        try:
            work = functools.partial(self._step, call, self._meeting_site(), report, number)
            outcome = await self._guard(call.step.task_type, work, report)
        finally:
            self._attempts.pop(call.step.id, None)
        return replace(outcome, notes=report.notes())

    def _step(self, call: StepCall, site: Site, report: ActivityReport, attempt: int) -> StepOutcome:
        report.check()
        return STEPS[call.step.task_type](call, site.within(call.bandwidth), report, attempt)

    def _meeting_site(self) -> Site:
        """Return the site with the way to the workflow that the present activity works for."""
        meeting = EngineMeeting(activity.client(), str(activity.info().workflow_id), asyncio.get_running_loop())
        return replace(self._site, meeting=meeting)

    async def _end_older(self, step_id: str) -> None:
        """Have an older attempt in this process let go first.

        After the engine itself was away it gives out a step again although its worker lived and went on.
        """
        while (older := self._attempts.get(step_id)) is not None:
            older.stop(Unavailable("the engine has given the step out again"))
            activity.heartbeat()
            await asyncio.sleep(OLDER_ATTEMPT_SECONDS)

    @activity.defn(name=RECEIVE_DISKS)
    async def receive_disks(self, asked: ReceiveCall) -> None:
        """Receive the disks that a worker of another site sends."""
        report = ActivityReport(1)
        work = functools.partial(channel_steps.receive, asked, self._meeting_site(), report)
        await self._guard(RECEIVE_DISKS, work, report)

    @activity.defn(name=RELAY_DISKS)
    async def relay_disks(self, asked: RelayCall) -> None:
        """Pass on the disks between workers that cannot connect to each other."""
        report = ActivityReport(1)
        work = functools.partial(channel_steps.relay, asked, self._meeting_site(), report)
        await self._guard(RELAY_DISKS, work, report)

    @activity.defn(name=STAGE_DISKS)
    async def stage_disks(self, asked: StageCall) -> None:
        """Store the disks that a worker of another site sends."""
        report = ActivityReport(1)
        work = functools.partial(staging_steps.stage, asked, self._meeting_site(), report)
        await self._guard(STAGE_DISKS, work, report)

    @activity.defn(name=FORWARD_DISKS)
    async def forward_disks(self, asked: ForwardCall) -> StepOutcome:
        """Send on the disks that are stored here; return what the copy has learned, with both legs' events."""
        attempt = activity.info().attempt
        number = min(attempt, COUNTED_FORWARDS) + FIRST_NUMBER[FORWARD_DISKS] + asked.call.round * ATTEMPTS_OF_A_ROUND
        report = ActivityReport(attempt, number)
        report.go_on_from(asked.first.notes)
        await self._end_older(asked.call.step.id)
        self._attempts[asked.call.step.id] = report
        try:
            work = functools.partial(staging_steps.forward, asked, self._meeting_site(), report)
            outcome = await self._guard(FORWARD_DISKS, work, report)
        finally:
            self._attempts.pop(asked.call.step.id, None)
        return replace(outcome, notes=report.notes())

    @activity.defn(name=REMOVE_STAGED)
    async def remove_staged(self, step_id: str) -> None:
        """Remove what is stored here of a step."""
        report = ActivityReport(1)
        await self._guard(REMOVE_STAGED, functools.partial(staging_steps.remove_staged, step_id, self._site), report)

    @activity.defn(name=ANSWER_QUESTION)
    async def answer_question(self, inquiry: Inquiry) -> dict[str, Any]:
        """Return what a cloud answers."""
        report = ActivityReport(1)
        work = functools.partial(questions.answer, inquiry, self._site.clouds)
        return await self._guard(inquiry.question, work, report)

    @activity.defn(name=LIST_INSTANCES)
    async def list_instances(self, asked: Cloud) -> Sequence[str]:
        """Return the ids of all machines of a cloud."""
        work = functools.partial(survey.list_instances, asked, self._site.clouds)
        return await self._guard(LIST_INSTANCES, work, ActivityReport(1))

    @activity.defn(name=SURVEY_SOURCE)
    async def survey_source(self, asked: SourceSurvey) -> Sequence[Observed]:
        """Return what a source tells of some machines."""
        report = ActivityReport(1)
        work = functools.partial(survey.survey_source, asked, self._site.clouds, report)
        return await self._guard(SURVEY_SOURCE, work, report)

    @activity.defn(name=SURVEY_DESTINATION)
    async def survey_destination(self, asked: DestinationSurvey) -> Arrival:
        """Return what a destination tells about some machines that would arrive."""
        report = ActivityReport(1)
        work = functools.partial(survey.survey_destination, asked, self._site.clouds, report)
        return await self._guard(SURVEY_DESTINATION, work, report)

    async def _guard(self, name: str, work: Callable[[], Result], report: ActivityReport) -> Result:
        """Turn every error into the engine's form, with what was told so far."""
        self._running += 1
        try:
            with self._meter.measured(str(name)):
                return await beat_while(self._pool, work, report)
        except IsthmusError as error:
            raise self._failure(error, report) from None
        except ApplicationError:
            raise
        except Exception as error:  # whatever a plug-in raises must end the step with an event
            if report.stopped is not None:
                raise self._failure(report.stopped, report) from None
            LOG.exception("%s failed in an unforeseen way", name)
            unforeseen = StepFailed(
                f"{name} failed in an unforeseen way ({type(error).__name__}): see this worker's log, and report it"
            )
            raise self._failure(unforeseen, report) from None
        finally:
            self._running -= 1

    def _failure(self, error: IsthmusError, report: ActivityReport) -> ApplicationError:
        level = Level.WARNING if error.retryable else Level.ERROR
        report.event(level, error.message)
        return as_failure(error, report.notes())
