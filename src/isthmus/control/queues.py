"""Names of the engine's task queues."""

from collections.abc import Sequence

CONDUCTOR_QUEUE = "isthmus-conductor"
"""Workflows, and the activities that touch the database."""

_WORKERS = "isthmus-worker-"
_RECEIVERS = "isthmus-receiver-"
_STAGING = "isthmus-staging-"


def worker_queue(mapped_regions: Sequence[str]) -> str:
    """Return the task queue of the workers beside an endpoint: that of its first region, else of `default`."""
    return f"{_WORKERS}{mapped_regions[0] if mapped_regions else 'default'}"


def receiving_queue(mapped_regions: Sequence[str]) -> str:
    """Return the task queue of those that receive disks beside an endpoint.

    It is not that of the other steps: senders of two directions would keep all places, each waiting for a receiver.
    """
    return f"{_RECEIVERS}{mapped_regions[0] if mapped_regions else 'default'}"


def region_of(queue: str) -> str:
    """Return the region whose workers serve a queue of `worker_queue`."""
    return queue.removeprefix(_WORKERS)


def staging_queue(worker_id: str) -> str:
    """Return the task queue of one worker for the disks that are staged on it."""
    return f"{_STAGING}{worker_id}"


def host_queue(host: str) -> str:
    """Return the task queue on which the workers of one host describe themselves."""
    return f"isthmus-host-{host}"


def own_queue(worker_id: str) -> str:
    """Return the task queue of one worker alone: the disk steps that were placed on it, and its lease."""
    return f"isthmus-own-{worker_id}"
