"""The conductor: tells the engine what the API has accepted, runs workflows, records what becomes of them.

Any number may run at once: all that they write is guarded, and the engine starts nothing twice.
"""

from concurrent.futures import ThreadPoolExecutor

from oslo_config.cfg import ConfigOpts
from oslo_log import log
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from isthmus.control import metrics, tracing
from isthmus.control.database import Database, utc_now
from isthmus.control.engine import EngineAddress
from isthmus.control.queues import CONDUCTOR_QUEUE
from isthmus.migration.services.assessment_keeper import AssessmentKeeper
from isthmus.migration.services.dispatcher import Dispatcher
from isthmus.migration.services.gauges import Gauges
from isthmus.migration.services.lifecycle import leave, run_until_stopped
from isthmus.migration.services.recorder import Recorder
from isthmus.migration.services.registry import Registry
from isthmus.migration.services.timekeeper import Timekeeper
from isthmus.migration.services.wave_watch import WaveWatch
from isthmus.migration.workflows.ask import AskProvider
from isthmus.migration.workflows.assessing import Assessment
from isthmus.migration.workflows.assessment_control import AssessmentActivities
from isthmus.migration.workflows.control import ControlActivities
from isthmus.migration.workflows.executions import WORKFLOWS
from isthmus.migration.workflows.introduction import AskService, RecordService
from isthmus.migration.workflows.lease import WorkerLease
from isthmus.migration.workflows.placing import Placing, limits_of
from isthmus.migration.workflows.pool_control import PoolActivities
from isthmus.migration.workflows.pools import MinionPoolAction
from isthmus.migration.workflows.wave_control import WaveActivities
from isthmus.migration.workflows.waves import Wave
from isthmus.migration.workflows.worker_control import LeaseActivities

DATABASE_THREADS = 8
SERVED = (
    *(*WORKFLOWS, AskProvider, AskService, Assessment, RecordService, MinionPoolAction, Wave),
    WorkerLease,
)
"""All workflows. What an older conductor has begun goes on in a newer one: a change of what a workflow asks for, or in
which order, is made behind `workflow.patched`. A test replays the histories of earlier versions.
"""


def run(conf: ConfigOpts) -> None:
    """Serve until SIGTERM or SIGINT."""
    log.setup(conf, "isthmus")
    tracing.start(conf, "conductor")
    database = Database(conf.database.connection)
    metrics.listen(conf, Gauges(database))
    placing = Placing(database, limits_of(conf.placement), utc_now)
    control = ControlActivities(database, utc_now, placing=placing)
    leases = LeaseActivities(database, utc_now)
    registry = Registry(database, placing, utc_now)
    dispatcher = Dispatcher(database, conf.conductor.dispatch_interval)
    pools = PoolActivities(database, utc_now)
    waves = WaveActivities(database, utc_now)
    watch = WaveWatch(database, utc_now)
    assessments = AssessmentActivities(database, utc_now)
    timekeeper = Timekeeper(database, utc_now)
    recorder = Recorder(database, conf.conductor.progress_interval, utc_now)
    keeper = AssessmentKeeper(database, utc_now)
    loops = (dispatcher.run, recorder.run, timekeeper.run, keeper.run, watch.run, registry.run)
    with ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database") as pool:

        def workers(client: Client) -> list[Worker]:
            return [
                Worker(
                    client,
                    task_queue=CONDUCTOR_QUEUE,
                    workflows=SERVED,
                    activities=[*control.all, *pools.all, *waves.all, *assessments.all, *leases.all],
                    activity_executor=pool,
                    max_concurrent_activities=DATABASE_THREADS,
                    max_concurrent_local_activities=DATABASE_THREADS,
                    # Our workflows are plain functions over facts; the sandbox would only import them again each time.
                    workflow_runner=UnsandboxedWorkflowRunner(),
                )
            ]

        run_until_stopped(EngineAddress.of(conf), workers, loops)
    database.close()
    leave()
