"""All that a manager can do, by the kind of job."""

from collections.abc import Mapping

from isthmus.shares.model import Kind
from isthmus.shares.services import (
    access_jobs,
    ensure_jobs,
    group_jobs,
    manage_jobs,
    replica_jobs,
    replicated_snapshot_jobs,
    share_jobs,
    snapshot_jobs,
    transfer_jobs,
)
from isthmus.shares.services.work import Operation

OPERATIONS: Mapping[Kind, Operation] = {
    **share_jobs.OPERATIONS,
    **access_jobs.OPERATIONS,
    **ensure_jobs.OPERATIONS,
    **manage_jobs.OPERATIONS,
    **snapshot_jobs.OPERATIONS,
    **group_jobs.OPERATIONS,
    **transfer_jobs.OPERATIONS,
    **replica_jobs.OPERATIONS,
    **replicated_snapshot_jobs.OPERATIONS,
}
