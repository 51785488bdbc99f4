"""All that a manager can do, by the kind of job."""

from collections.abc import Mapping

from isthmus.shares.model import Kind
from isthmus.shares.services import access_jobs, manage_jobs, share_jobs
from isthmus.shares.services.work import Operation

OPERATIONS: Mapping[Kind, Operation] = {
    **share_jobs.OPERATIONS,
    **access_jobs.OPERATIONS,
    **manage_jobs.OPERATIONS,
}
