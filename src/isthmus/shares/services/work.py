"""One job's surroundings and its three parts: read the facts, call the driver, give what shall be recorded.

A driver is called outside any transaction. What became of it is recorded in one transaction together with the job's
removal, and only by who still holds the job's lease: a manager that was thought dead records nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from oslo_config.cfg import ConfigOpts
from sqlalchemy.orm import Session

from isthmus.control.database import Database
from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.contract import ShareDriver
from isthmus.shares.store.jobs import Job


@dataclass(frozen=True)
class Work:
    """What operations work with. `backend` is `machine@back end`."""

    conf: ConfigOpts
    database: Database
    driver: ShareDriver
    backend: str
    now: Callable[[], datetime]


Record = Callable[[Session], None]
"""Writes a result; runs in the transaction that removes the job."""


@dataclass(frozen=True)
class Operation:
    """How one kind of job is carried out, and what is recorded when it cannot be.

    `perform` may run again after a crash at any point. It raises what the driver raised; errors that are `retryable`
    put the job back, any other is handed to `fail`.
    """

    perform: Callable[[Work, Job], Record]
    fail: Callable[[Work, Job, IsthmusError], Record]


def nothing(session: Session) -> None:
    """Record nothing: the object is gone, or was seen to before."""
    del session
