"""The conductor: tells the engine what the API has accepted, runs workflows, records what becomes of them.

Any number may run at once: all that they write is guarded, and the engine starts nothing twice.
"""

from concurrent.futures import ThreadPoolExecutor

from oslo_config.cfg import ConfigOpts
from oslo_log import log
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from isthmus.control.database import Database, utc_now
from isthmus.control.engine import EngineAddress
from isthmus.control.queues import CONDUCTOR_QUEUE
from isthmus.migration.services.dispatcher import Dispatcher
from isthmus.migration.services.lifecycle import leave, run_until_stopped
from isthmus.migration.services.recorder import Recorder
from isthmus.migration.workflows.ask import AskProvider
from isthmus.migration.workflows.control import ControlActivities
from isthmus.migration.workflows.executions import WORKFLOWS

DATABASE_THREADS = 8


def run(conf: ConfigOpts) -> None:
    """Serve until SIGTERM or SIGINT."""
    log.setup(conf, "isthmus")
    database = Database(conf.database.connection)
    control = ControlActivities(database, utc_now)
    dispatcher = Dispatcher(database, conf.conductor.dispatch_interval)
    recorder = Recorder(database, conf.conductor.progress_interval, utc_now)
    with ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database") as pool:

        def workers(client: Client) -> list[Worker]:
            return [
                Worker(
                    client,
                    task_queue=CONDUCTOR_QUEUE,
                    workflows=[*WORKFLOWS, AskProvider],
                    activities=control.all,
                    activity_executor=pool,
                    max_concurrent_activities=DATABASE_THREADS,
                    # Our workflows are plain functions over facts; the sandbox would only import them again each time.
                    workflow_runner=UnsandboxedWorkflowRunner(),
                )
            ]

        run_until_stopped(EngineAddress.of(conf), workers, (dispatcher.run, recorder.run))
    database.close()
    leave()
