"""Names of the engine's task queues."""

from collections.abc import Sequence

CONDUCTOR_QUEUE = "isthmus-conductor"
"""Workflows, and the activities that touch the database."""


def worker_queue(mapped_regions: Sequence[str]) -> str:
    """Return the task queue of the workers beside an endpoint: that of its first region, else of `default`."""
    return f"isthmus-worker-{mapped_regions[0] if mapped_regions else 'default'}"


def host_queue(host: str) -> str:
    """Return the task queue on which the workers of one host describe themselves."""
    return f"isthmus-host-{host}"
