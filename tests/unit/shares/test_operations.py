"""A share manager can do whatever may be asked of it."""

from isthmus.shares.model import Kind
from isthmus.shares.services.operations import OPERATIONS


def test_every_kind_of_job_has_an_operation() -> None:
    assert set(OPERATIONS) == set(Kind)
