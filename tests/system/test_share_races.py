"""Two calls at once, through the whole program: one wins, the others are told, and nothing is counted twice."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from lab.share_user import ShareUser
from requests import Response

AT_ONCE = 20


@pytest.fixture(scope="module")
def user(share_administrator: ShareUser) -> ShareUser:
    """Return a user in a project of its own with quotas of 5 shares, 12 GiB and 3 snapshots."""
    made = share_administrator.stranger()
    quotas = {"shares": 5, "gigabytes": 12, "snapshots": 3}
    share_administrator.made("PUT", f"/quota-sets/{made.project_id}", {"quota_set": quotas})
    return made


@pytest.fixture(autouse=True)
def _nothing_is_left(user: ShareUser) -> Iterator[None]:
    """Remove what a test made, and see that nothing is counted as used then."""
    yield
    for snapshot in user.made("GET", "/snapshots")["snapshots"]:
        user.delete_snapshot(snapshot)
    for share in user.made("GET", "/shares")["shares"]:
        user.delete(share)
    assert {name: used for name, used in user.usage().items() if used != (0, 0)} == {}


def at_once(calls: Sequence[Callable[[], Response]]) -> list[Response]:
    """Make all calls at the same time and return their answers in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def statuses(answers: Sequence[Response]) -> list[int]:
    return sorted(answer.status_code for answer in answers)


def test_only_as_many_shares_are_made_as_the_quota_allows(user: ShareUser) -> None:
    body = {"share": {"size": 1, "share_proto": "NFS"}}

    answers = at_once([lambda: user.call("POST", "/shares", body)] * AT_ONCE)

    assert statuses(answers) == [200] * 5 + [413] * (AT_ONCE - 5)
    assert user.usage()["shares"] == (5, 0)
    assert user.usage()["gigabytes"] == (5, 0)
    for answer in answers:
        if answer.status_code == 200:
            user.settled(f"/shares/{answer.json()['share']['id']}", "share")


def test_more_calls_than_the_api_has_threads_are_all_answered(share_administrator: ShareUser) -> None:
    """Twice its threads: each needs a connection to the database, and the first of a project make what counts them."""
    crowd = share_administrator.stranger()
    share_administrator.made("PUT", f"/quota-sets/{crowd.project_id}", {"quota_set": {"shares": -1, "gigabytes": -1}})
    body = {"share": {"size": 1, "share_proto": "NFS"}}

    answers = at_once([lambda: crowd.call("POST", "/shares", body)] * 32)

    assert statuses(answers) == [200] * 32, [each.text for each in answers if each.status_code != 200]
    made = [answer.json()["share"] for answer in answers]
    for share in made:
        crowd.settled(f"/shares/{share['id']}", "share")
    for share in made:
        crowd.made("DELETE", f"/shares/{share['id']}")
    for share in made:
        crowd.gone(f"/shares/{share['id']}")
    assert {name: used for name, used in crowd.usage().items() if used != (0, 0)} == {}


def test_only_as_many_gib_are_given_as_the_quota_allows(user: ShareUser) -> None:
    shares = [user.share() for _ in range(4)]

    answers = at_once([lambda share=share: _act(user, share, {"extend": {"new_size": 5}}) for share in shares])  # type: ignore[misc]

    assert statuses(answers) == [202] * 2 + [403] * 2  # as in Manila: not 413
    sizes = sorted(user.settled(f"/shares/{share['id']}", "share")["size"] for share in shares)
    assert sizes == [1, 1, 5, 5]
    assert user.usage()["gigabytes"] == (12, 0)


def test_only_as_many_snapshots_are_made_as_the_quota_allows(user: ShareUser) -> None:
    share = user.share()
    body = {"snapshot": {"share_id": share["id"]}}

    answers = at_once([lambda: user.call("POST", "/snapshots", body)] * 10)

    assert statuses(answers) == [202] * 3 + [413] * 7
    for answer in answers:
        if answer.status_code == 202:
            user.settled(f"/snapshots/{answer.json()['snapshot']['id']}", "snapshot")


@pytest.mark.parametrize("_", range(3))
def test_a_share_is_deleted_or_gets_a_snapshot(user: ShareUser, _: int) -> None:
    share = user.share()

    deleted, snapped = at_once(
        [
            lambda: user.call("DELETE", f"/shares/{share['id']}"),
            lambda: user.call("POST", "/snapshots", {"snapshot": {"share_id": share["id"]}}),
        ]
    )

    assert (deleted.status_code == 202) != (snapped.status_code == 202), (deleted.text, snapped.text)
    if deleted.status_code == 202:
        user.gone(f"/shares/{share['id']}")
        assert user.made("GET", "/snapshots")["snapshots"] == []
    else:
        user.settled(f"/snapshots/{snapped.json()['snapshot']['id']}", "snapshot")
        assert user.made("GET", f"/shares/{share['id']}")["share"]["status"] == "available"


def test_a_share_is_extended_or_shrunk(user: ShareUser) -> None:
    share = user.share(3)

    extended, shrunk = at_once(
        [
            lambda: _act(user, share, {"extend": {"new_size": 4}}),
            lambda: _act(user, share, {"shrink": {"new_size": 2}}),
        ]
    )

    # Both only if one had ended before the other came.
    assert 202 in {extended.status_code, shrunk.status_code}
    assert {extended.status_code, shrunk.status_code} <= {202, 400}
    size = user.settled(f"/shares/{share['id']}", "share")["size"]
    assert size == (4 if shrunk.status_code == 400 else 2)
    assert user.usage()["gigabytes"] == (size, 0)


def test_a_share_that_changes_its_size_meanwhile_is_counted_right(user: ShareUser) -> None:
    share = user.share(3)
    path = f"/shares/{share['id']}/action"

    def extend_as_soon_as_it_can_be(_: int) -> bool:
        for _ in range(200):
            answer = user.call("POST", path, {"extend": {"new_size": 4}})
            if answer.status_code == 202 or "must be greater" in answer.text:
                return True
        return False

    for _ in range(5):
        user.act(share, "shrink", {"new_size": 2})
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(extend_as_soon_as_it_can_be, range(6)))
        assert user.settled(f"/shares/{share['id']}", "share")["size"] == 4
        assert user.usage()["gigabytes"] == (4, 0)
        user.resized(share, "shrink", 3)


def test_deleting_a_share_by_many_at_once_deletes_it_once(user: ShareUser) -> None:
    share = user.share(2)

    answers = at_once([lambda: user.call("DELETE", f"/shares/{share['id']}")] * 8)

    assert 202 in statuses(answers)
    assert set(statuses(answers)) <= {202, 403, 404, 409}
    user.gone(f"/shares/{share['id']}")
    assert user.usage()["gigabytes"] == (0, 0)
    assert user.usage()["shares"] == (0, 0)


def test_deleting_a_snapshot_by_many_at_once_deletes_it_once(user: ShareUser) -> None:
    snapshot = user.snapshot(user.share())

    answers = at_once([lambda: user.call("DELETE", f"/snapshots/{snapshot['id']}")] * 8)

    assert 202 in statuses(answers)
    assert set(statuses(answers)) <= {202, 400, 404}
    user.gone(f"/snapshots/{snapshot['id']}")
    assert user.usage()["snapshots"] == (0, 0)


def test_a_client_is_allowed_once(user: ShareUser) -> None:
    share = user.share()
    argument = {"allow_access": {"access_type": "ip", "access_to": "192.0.2.1"}}

    answers = at_once([lambda: _act(user, share, argument)] * 10)

    assert statuses(answers) == [200] + [400] * 9
    rules = user.made("GET", f"/share-access-rules?share_id={share['id']}")["access_list"]
    assert [rule["access_to"] for rule in rules] == ["192.0.2.1"]


def test_many_rules_at_once_all_hold(user: ShareUser) -> None:
    share = user.share()
    wanted = sorted(f"192.0.2.{number}" for number in range(AT_ONCE))
    bodies = [{"allow_access": {"access_type": "ip", "access_to": each}} for each in wanted]

    answers = at_once([lambda body=body: _act(user, share, body) for body in bodies])  # type: ignore[misc]

    assert statuses(answers) == [200] * AT_ONCE
    for answer in answers:
        rule = answer.json()["access"]["id"]
        user.settled(f"/share-access-rules/{rule}", "access", field="state", wanted="active")


def test_metadata_set_by_many_at_once_is_all_there(user: ShareUser) -> None:
    share = user.share()
    keys = [uuid.uuid4().hex for _ in range(10)]
    path = f"/shares/{share['id']}/metadata"

    answers = at_once([lambda key=key: user.call("POST", path, {"metadata": {key: key}}) for key in keys])  # type: ignore[misc]

    assert statuses(answers) == [200] * 10
    assert user.made("GET", path)["metadata"].items() >= {key: key for key in keys}.items()


def _act(user: ShareUser, share: dict[str, Any], action: dict[str, Any]) -> Response:
    return user.call("POST", f"/shares/{share['id']}/action", action)
