"""What both services share: wait for Temporal, serve a queue, say when ready, stop on SIGTERM or SIGINT.

A neighbour that is away or restarts is waited for; a service ends only when it is told to.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from isthmus.control import tracing
from isthmus.control.engine import EngineAddress, connect
from isthmus.control.errors import Unavailable
from isthmus.control.readiness import say_ready

LOG = logging.getLogger(__name__)

"""Environment variable: the file to touch once all queues are polled."""

RECONNECT_SECONDS = 1.0
LOOK_SECONDS = 0.2

Loop = Callable[[Client, asyncio.Event], Awaitable[None]]


def run_until_stopped(
    address: EngineAddress, workers: Callable[[Client], Sequence[Worker]], loops: Sequence[Loop] = ()
) -> None:
    """Serve until SIGTERM or SIGINT, then let running activities give up their steps and return."""
    asyncio.run(_serve(address, workers, loops))


async def _serve(address: EngineAddress, workers: Callable[[Client], Sequence[Worker]], loops: Sequence[Loop]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not stop.is_set():
        try:
            client = await connect(address)
            await _serve_once(client, workers(client), loops, stop)
        except Unavailable as error:
            LOG.warning("%s", error.message)
        except Exception:
            # A worker that cannot go on (its namespace is gone, the server answers nonsense) is made anew.
            LOG.exception("serving broke off and begins again")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RECONNECT_SECONDS)


async def _serve_once(client: Client, workers: Sequence[Worker], loops: Sequence[Loop], stop: asyncio.Event) -> None:
    """Run workers and loops until told to stop; raise what ended one of them before."""
    ending = asyncio.Event()
    polling = [asyncio.ensure_future(worker.run()) for worker in workers]
    tasks = [asyncio.ensure_future(loop(client, ending)) for loop in loops]
    tasks.append(asyncio.ensure_future(_announce(client, workers)))
    try:
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)
            for task in (each for each in (*polling, *tasks) if each.done()):
                task.result()
    finally:
        ending.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.shutdown() for worker in workers if worker.is_running))
        await asyncio.gather(*polling, return_exceptions=True)


async def _announce(client: Client, workers: Sequence[Worker]) -> None:
    """Touch the ready file when Temporal sees this process poll each of its queues."""
    for worker in workers:
        while not await _is_polled(client, worker.task_queue):
            await asyncio.sleep(0.05)
    LOG.info("serving %s", ", ".join(worker.task_queue for worker in workers))
    say_ready()


async def _is_polled(client: Client, queue: str) -> bool:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    )
    try:
        answer = await client.workflow_service.describe_task_queue(request)
    except RPCError:
        return False
    return any(poller.identity == client.identity for poller in answer.pollers)


def leave() -> None:
    """End the process at once after a graceful stop.

    Temporal's native threads may still hold on to Python objects; taking the interpreter down under them can abort
    the process ("PyGILState_Release"), which a supervisor would take for a crash.
    """
    tracing.flush()
    logging.shutdown()
    os._exit(0)
