"""What a worker remembers of secrets, on a clock of the test's."""

from typing import Any

import pytest

from isthmus.control.errors import NotFound
from isthmus.control.secrets import REMEMBERED_SECONDS, Remembered


class Store:
    """A store that counts how often it is asked, with a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[tuple[str | None, str]] = []
        self.secrets: dict[str, dict[str, Any]] = {"ref": {"password": "swordfish"}}
        self.remembered = Remembered(self._fetch, lambda: self.now)

    def _fetch(self, trust_id: str | None, reference: str) -> dict[str, Any]:
        self.asked.append((trust_id, reference))
        if reference not in self.secrets:
            raise NotFound(f"the secret {reference} is gone")
        return self.secrets[reference]


def test_a_secret_is_fetched_once_while_it_is_remembered_and_again_after() -> None:
    store = Store()
    for _ in range(3):
        assert store.remembered("trust", "ref") == {"password": "swordfish"}
    assert len(store.asked) == 1
    store.now += REMEMBERED_SECONDS
    store.remembered("trust", "ref")
    assert len(store.asked) == 2


def test_what_one_trust_has_opened_is_not_given_to_another() -> None:
    store = Store()
    store.remembered("trust", "ref")
    store.remembered("other", "ref")
    assert store.asked == [("trust", "ref"), ("other", "ref")]


def test_a_secret_that_is_gone_is_noticed_when_its_time_is_over() -> None:
    store = Store()
    store.remembered("trust", "ref")
    del store.secrets["ref"]
    store.now += REMEMBERED_SECONDS
    with pytest.raises(NotFound):
        store.remembered("trust", "ref")


def test_a_failure_is_not_remembered() -> None:
    store = Store()
    kept = store.secrets.pop("ref")
    with pytest.raises(NotFound):
        store.remembered("trust", "ref")
    store.secrets["ref"] = kept
    assert store.remembered("trust", "ref") == {"password": "swordfish"}


def test_who_changes_what_was_given_changes_nothing_for_the_next() -> None:
    store = Store()
    dict_of_one = store.remembered("trust", "ref")
    assert isinstance(dict_of_one, dict)
    dict_of_one.clear()
    assert store.remembered("trust", "ref") == {"password": "swordfish"}
