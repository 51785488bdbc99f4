from datetime import datetime, timedelta

import pytest
from tests.functional.shares.api.parts import ADMIN, MEMBER, READER, STRANGER, Shares, refused

from isthmus.shares.api.message_texts import ACTIONS, DETAILS
from isthmus.shares.messages import Action, Detail
from isthmus.shares.store import messages

NOW = datetime.fromisoformat("2030-01-01T12:00:00.5")
NAMES = {
    *("id", "project_id", "action_id", "detail_id", "message_level", "created_at", "expires_at", "request_id"),
    *("resource_type", "resource_id", "user_message", "links"),
}


def say(shares: Shares, *, project: str = "p1", about: str = "share-1", later: int = 0, text: str = "") -> None:
    with shares.database.transaction() as session:
        messages.say(
            session,
            project_id=project,
            action=Action.CREATE,
            detail=Detail.NO_VALID_HOST,
            resource_id=about,
            request_id="req-1",
            text=text or None,
            now=NOW + timedelta(seconds=later),
        )


def listed(shares: Shares, query: str = "", **options: object) -> list[str]:
    found = shares.get(f"/messages{query}", **{"by": MEMBER, **options})["messages"]
    return [each["resource_id"] for each in found]


def test_a_message_is_spelt_out(shares: Shares) -> None:
    say(shares, text="pool is full")
    (shown,) = shares.get("/messages", by=MEMBER)["messages"]
    assert set(shown) == NAMES
    assert shown["user_message"].startswith("create: No storage could be allocated")
    assert shown["user_message"].endswith("pool is full")
    assert shares.get(f"/messages/{shown['id']}", by=MEMBER)["message"] == shown


def test_every_code_has_words() -> None:
    assert set(ACTIONS) == set(Action)
    assert set(DETAILS) == set(Detail)


def test_messages_are_their_projects(shares: Shares) -> None:
    say(shares)
    (shown,) = shares.get("/messages", by=MEMBER)["messages"]
    assert listed(shares, by=STRANGER) == []
    refused(shares.call("GET", f"/messages/{shown['id']}", by=STRANGER), 404, shown["id"])
    refused(shares.call("DELETE", f"/messages/{shown['id']}", by=STRANGER), 404)
    refused(shares.call("DELETE", f"/messages/{shown['id']}", by=READER), 403)
    assert listed(shares, by=ADMIN) == ["share-1"]


def test_a_message_is_deleted(shares: Shares) -> None:
    say(shares)
    (shown,) = shares.get("/messages", by=MEMBER)["messages"]
    shares.delete(f"/messages/{shown['id']}", 204, by=MEMBER)
    assert listed(shares) == []
    refused(shares.call("DELETE", f"/messages/{shown['id']}", by=MEMBER), 404)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["b", "a"]),
        ("?resource_id=a", ["a"]),
        ("?action_id=009", []),
        ("?sort_key=created_at&sort_dir=asc", ["a", "b"]),
        ("?limit=1", ["b"]),
        ("?created_since=2030-01-01T12:00:05", ["b"]),
        ("?created_before=2030-01-01%2012:00:05", ["a"]),
        ("?created_before=2030-01-01T13:00:05%2B01:00", ["a"]),
    ],
)
def test_lists_of_messages(shares: Shares, query: str, found: list[str]) -> None:
    say(shares, about="a")
    say(shares, about="b", later=10)
    assert listed(shares, query) == found


def test_wrong_queries(shares: Shares) -> None:
    for query in ("sort_key=x", "limit=x", "created_since=yesterday"):
        refused(shares.call("GET", f"/messages?{query}", by=MEMBER), 400)


def test_times_were_no_filter_before_2_52(shares: Shares) -> None:
    say(shares)
    assert listed(shares, "?created_since=2031-01-01", version="2.51") == ["share-1"]
    refused(shares.call("GET", "/messages", by=MEMBER, version="2.36"), 404)
