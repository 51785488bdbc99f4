"""How long work may take, and why it is safe to try it again. All of it is here.

A step may be run again because every call to a provider, the disk engine and a morpher is idempotent by its contract:
"already done" is success. Two attempts never work at the same time: an attempt whose heartbeats are refused, or not
answered for `HEARTBEAT_TIMEOUT`, stops before the next one is given out (`activities.Attempt`).
Control activities are guarded updates and inserts by fixed ids: a repetition finds its own work and leaves it.
"""

from datetime import timedelta
from typing import TypedDict

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

HEARTBEAT_TIMEOUT = timedelta(seconds=10)
HEARTBEAT_INTERVAL_SECONDS = 1.0


class ActivityOptions(TypedDict, total=False):
    """The options of an activity call that we use."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    schedule_to_start_timeout: timedelta
    heartbeat_timeout: timedelta
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType


class LocalOptions(TypedDict, total=False):
    """The options of a call of an activity in the workflow's own process."""

    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta
    retry_policy: RetryPolicy


STEP = ActivityOptions(
    # A copy of many TiB takes days; heartbeats find out about death much earlier.
    start_to_close_timeout=timedelta(days=14),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # A cloud that does not answer for ten minutes fails the step. A killed worker costs one of these attempts.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=60),
        maximum_attempts=16,
    ),
    # Undo begins only when the cancelled step has really let go of the cloud.
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)

RECEIVER_START = timedelta(minutes=2)
"""How long a receiver may wait for a worker that has room for it."""

RECEIVE = ActivityOptions(
    start_to_close_timeout=timedelta(days=14),
    schedule_to_start_timeout=RECEIVER_START,
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # Its sender is tried again, and asks for another.
    retry_policy=RetryPolicy(maximum_attempts=1),
    # The next one begins only when this one has really let go of the destination.
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)

FORWARD = ActivityOptions(
    start_to_close_timeout=timedelta(days=14),
    # Only one worker has what is staged. If that is away for longer, the step fails and the copy is begun anew by hand.
    schedule_to_start_timeout=timedelta(hours=1),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # The destination's site may be away for days: its disks wait for it.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=60),
        # Each adds some events to the history, and that has an end.
        maximum_attempts=2000,
    ),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)

REMOVE = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=5),
    # A worker that is away removes it when it comes back.
    schedule_to_start_timeout=timedelta(seconds=20),
    # One that is killed just as it was asked is not waited for.
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_attempts=5),
)

TAKEN_UP_WITHIN = timedelta(seconds=8)
"""How long a step that was given to one worker waits to be taken up: its place is reserved, so one that lives does."""

LEASE = ActivityOptions(
    # Three heartbeats: one that comes late on a busy machine is not taken for a death.
    heartbeat_timeout=timedelta(seconds=15),
    schedule_to_start_timeout=timedelta(seconds=15),
    start_to_close_timeout=timedelta(hours=1),
    # A worker that lost its lease asks for another by itself.
    retry_policy=RetryPolicy(maximum_attempts=1),
)

LOOK = ActivityOptions(
    start_to_close_timeout=timedelta(minutes=10),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # Nothing has been begun, and a wrong address is the likeliest cause of silence: it is told within about a minute.
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_attempts=5),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)

UNDO = ActivityOptions(
    start_to_close_timeout=timedelta(days=14),
    heartbeat_timeout=HEARTBEAT_TIMEOUT,
    # Leaving things behind is worse than waiting: an hour for the cloud to come back, then an event says what is left.
    retry_policy=RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=60),
        maximum_attempts=64,
    ),
    cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
)

CONTROL = ActivityOptions(
    # The database may be away: the work waits for it for ever, and goes on where it was.
    start_to_close_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=200),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=5),
        maximum_attempts=0,
    ),
)

CONTROL_HERE = LocalOptions(
    # Longer than a transaction takes when all is well, shorter than the engine waits for a workflow's task.
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(seconds=6),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), backoff_coefficient=2, maximum_attempts=3),
)

QUESTION = ActivityOptions(
    # The caller waits at a terminal; the workflow's own limit ends the question.
    schedule_to_close_timeout=timedelta(seconds=110),
    start_to_close_timeout=timedelta(seconds=100),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=2),
)

INTRODUCTION = ActivityOptions(
    # A process that is there takes the question at once; who asks for one that is not must learn so in seconds.
    schedule_to_start_timeout=timedelta(seconds=5),
    start_to_close_timeout=timedelta(seconds=10),
    retry_policy=RetryPolicy(maximum_attempts=1),
)
