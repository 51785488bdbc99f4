"""A database that does not answer is said to be so."""

import pytest
from tests.functional.shares.api.parts import MEMBER, Shares, refused


@pytest.fixture
def database_url() -> str:
    """Return a server's address where nobody listens."""
    return "mysql+pymysql://isthmus@127.0.0.1:1/isthmus"


def test_a_silent_database_is_unavailable(shares: Shares) -> None:
    refused(shares.call("GET", "/shares", by=MEMBER), 503, "the database does not answer now; try again")
