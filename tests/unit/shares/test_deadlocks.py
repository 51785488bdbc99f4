import pytest
from sqlalchemy.exc import DBAPIError, OperationalError

from isthmus.shares.store.deadlocks import is_deadlock, was_dead


def error(code: int) -> OperationalError:
    return OperationalError("UPDATE", {}, Exception(code, "the database's words"))


@pytest.mark.parametrize(("code", "is_one"), [(1213, True), (1205, True), (1305, False), (2013, False)])
def test_a_deadlock_is_known_by_its_code(code: int, is_one: bool) -> None:
    assert is_deadlock(error(code)) is is_one


def test_a_code_counts_beside_a_sqlstate_that_says_nothing() -> None:
    waited = error(1205)
    waited.orig.sqlstate = "HY000"  # type: ignore[union-attr] # as PyMySQL tells it
    assert is_deadlock(waited)


def test_a_deadlock_within_a_savepoint_is_one_too() -> None:
    def in_savepoint() -> None:
        try:
            raise error(1213)
        except OperationalError:
            raise error(1305)  # noqa: B904 - as SQLAlchemy does when it cannot go back to the savepoint

    with pytest.raises(OperationalError) as raised:
        in_savepoint()
    assert is_deadlock(raised.value)


@pytest.mark.parametrize(
    ("statement", "invalidated", "dead"), [("SELECT", True, True), ("SELECT", False, False), (None, True, False)]
)
def test_a_connection_lost_at_the_commit_is_not_tried_again(
    statement: str | None, invalidated: bool, dead: bool
) -> None:
    assert was_dead(DBAPIError(statement, {}, Exception(), connection_invalidated=invalidated)) is dead
