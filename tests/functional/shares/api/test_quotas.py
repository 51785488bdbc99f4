"""Quota sets, quota classes, limits."""

from typing import Any

import pytest
from sqlalchemy import select
from tests.functional.shares.api.ledger import LedgerDriver, work_off
from tests.functional.shares.api.parts import MEMBER, STRANGER, Shares, refused

from isthmus.shares.drivers.facts import ShareFacts, SnapshotFacts
from isthmus.shares.store import usage
from isthmus.shares.store.usage import Owner
from isthmus.shares.tables import PoolRow

SETS = "/quota-sets/p1"


def use(api: Shares, **amounts: int) -> None:
    with api.database.transaction() as session:
        assert usage.take(session, api.conf, Owner("p1", "ann"), amounts) is None


def set_quota(api: Shares, query: str = "", **limits: Any) -> Any:
    return api.put(f"{SETS}{query}", {"quota_set": limits})["quota_set"]


def test_a_project_begins_with_the_defaults(shares: Shares) -> None:
    shown = shares.get(SETS, by=MEMBER)["quota_set"]
    assert shown == shares.get(f"{SETS}/defaults", by=MEMBER)["quota_set"]
    assert (shown["id"], shown["shares"], shown["gigabytes"]) == ("p1", 50, 1000)


@pytest.mark.parametrize(
    ("version", "last"),
    [("2.7", "share_networks"), ("2.40", "share_group_snapshots"), ("2.53", "replica_gigabytes"),
     ("2.62", "per_share_gigabytes"), ("2.80", "backup_gigabytes"), ("2.90", "encryption_keys")],
)  # fmt: skip
def test_resources_come_with_versions(shares: Shares, version: str, last: str) -> None:
    shown = list(shares.get(SETS, version=version)["quota_set"])
    order = list(shares.get(SETS)["quota_set"])
    assert shown == [*order[: order.index(last) + 1], "id"]


def test_old_versions_have_their_own_path(shares: Shares) -> None:
    assert shares.get("/os-quota-sets/p1", version="2.6")["quota_set"]["shares"] == 50
    refused(shares.call("GET", SETS, version="2.6"), 404)
    refused(shares.call("GET", "/os-quota-sets/p1", version="2.7"), 404)
    refused(shares.call("GET", f"{SETS}/detail", version="2.24"), 404)


def test_a_set_limit_holds_until_it_is_dropped(shares: Shares) -> None:
    assert set_quota(shares, shares=3, gigabytes="-1")["shares"] == 3
    assert shares.get(SETS, by=MEMBER)["quota_set"]["gigabytes"] == -1
    assert shares.get("/limits", by=MEMBER)["limits"]["absolute"]["maxTotalShares"] == 3
    shares.delete(SETS)
    assert shares.get(SETS)["quota_set"]["shares"] == 50


def test_detail_shows_what_is_in_use(shares: Shares) -> None:
    use(shares, shares=2, gigabytes=7)
    shown = shares.get(f"{SETS}/detail")["quota_set"]
    assert shown["gigabytes"] == {"limit": 1000, "in_use": 7, "reserved": 0}
    assert shares.get(f"{SETS}/detail?user_id=ann")["quota_set"]["shares"]["in_use"] == 2
    assert shares.get(f"{SETS}/detail?user_id=bob")["quota_set"]["shares"]["in_use"] == 0


def test_users_and_types_have_limits_within_the_projects(shares: Shares) -> None:
    shares.share_type("gold")
    set_quota(shares, shares=5)
    assert set_quota(shares, "?user_id=ann", shares=4)["shares"] == 4
    typed = set_quota(shares, "?share_type=gold", shares=2)
    assert typed["shares"] == 2
    assert not {"share_networks", "share_groups", "share_group_snapshots"} & typed.keys()
    for query in ("?user_id=ann", "?share_type=gold"):
        refused(shares.call("PUT", f"{SETS}{query}", {"quota_set": {"shares": 6}}), 400, "less than 5")
        refused(shares.call("PUT", f"{SETS}{query}", {"quota_set": {"shares": -1}}), 400, "greater than 0")
    refused(shares.call("PUT", SETS, {"quota_set": {"shares": 3}}), 400, "greater than 4")
    shares.delete(f"{SETS}?user_id=ann")
    assert shares.get(f"{SETS}?user_id=ann")["quota_set"]["shares"] == 5
    assert shares.get(f"{SETS}?share_type=gold")["quota_set"]["shares"] == 2


def test_a_limit_below_use_needs_force(shares: Shares) -> None:
    use(shares, shares=2)
    refused(shares.call("PUT", SETS, {"quota_set": {"shares": 1}}), 400, "smaller than already used")
    assert set_quota(shares, shares=1, force=True)["shares"] == 1


@pytest.mark.parametrize(
    "wrong",
    [{}, {"foo": 1}, {"shares": 1, "foo": 1}, {"shares": "many"}, {"shares": -2}, {"shares": 2**40}, {"shares": 1.5}],
)
def test_wrong_limits_are_refused(shares: Shares, wrong: dict[str, Any]) -> None:
    refused(shares.call("PUT", SETS, {"quota_set": wrong}), 400)
    assert shares.get(SETS)["quota_set"]["shares"] == 50


@pytest.mark.parametrize("wrong", [{"share_networks": 1}, {"share_groups": 1}, {"share_group_snapshots": 1}])
def test_types_have_no_limits_of_networks_and_groups(shares: Shares, wrong: dict[str, int]) -> None:
    shares.share_type("gold")
    refused(shares.call("PUT", f"{SETS}?share_type=gold", {"quota_set": wrong}), 400)


def test_what_the_version_does_not_know_is_refused(shares: Shares) -> None:
    refused(shares.call("PUT", SETS, {"quota_set": {"backups": 1}}, version="2.79"), 400, "2.80")
    refused(shares.call("GET", f"{SETS}?share_type=gold", version="2.38"), 400, "2.39")
    refused(shares.call("GET", f"{SETS}?share_type=none"), 404, "none")
    shares.share_type("gold")
    refused(shares.call("GET", f"{SETS}?share_type=gold&user_id=u"), 400, "exclusive")


def test_quotas_are_the_projects_own(shares: Shares) -> None:
    refused(shares.call("GET", SETS, by=STRANGER), 403)
    refused(shares.call("PUT", SETS, {"quota_set": {"shares": 99}}, by=MEMBER), 403)
    refused(shares.call("DELETE", SETS, by=MEMBER), 403)


def test_the_default_class_holds_for_all(shares: Shares) -> None:
    changed = shares.put("/quota-class-sets/default", {"quota_class_set": {"shares": 7, "odd": 1}})
    assert changed["quota_class_set"]["shares"] == 7
    assert shares.get(SETS)["quota_set"]["shares"] == 7
    shares.put("/quota-class-sets/other", {"quota_class_set": {"shares": 9}})
    shown = shares.get("/quota-class-sets/other")["quota_class_set"]
    assert (shown["id"], shown["shares"], shown["snapshots"]) == ("other", 9, 50)
    assert shares.get(SETS)["quota_set"]["shares"] == 7


def test_classes_are_for_administrators(shares: Shares) -> None:
    refused(shares.call("GET", "/quota-class-sets/default", by=MEMBER), 403)
    refused(shares.call("PUT", "/quota-class-sets/default", {"quota_class_set": {"shares": 1}}, by=MEMBER), 403)
    refused(shares.call("PUT", "/quota-class-sets/default", {"quota_class_set": {"shares": "x"}}), 400)
    refused(shares.call("PUT", "/quota-class-sets/default", {}), 400)


@pytest.mark.parametrize(("version", "count"), [("2.0", 10), ("2.53", 14), ("2.58", 18), ("2.80", 22)])
def test_limits_grow_with_versions(shares: Shares, version: str, count: int) -> None:
    use(shares, shares=2)
    limits = shares.get("/limits", by=MEMBER, version=version)["limits"]
    assert limits["rate"] == []
    assert len(limits["absolute"]) == count
    assert (limits["absolute"]["maxTotalShares"], limits["absolute"]["totalSharesUsed"]) == (50, 2)


class ElasticLedger(LedgerDriver):
    """A ledger whose shares shrink and are reverted; what it `refused` fails."""

    def extend_share(self, share: ShareFacts, size_gib: int) -> None:
        self._ask("extend_share")

    def shrink_share(self, share: ShareFacts, size_gib: int) -> None:
        self._ask("shrink_share")

    def revert_share(self, share: ShareFacts, snapshot: SnapshotFacts) -> None:
        self._ask("revert_share")


@pytest.fixture
def elastic(shares: Shares) -> ElasticLedger:
    """Return a back end whose shares shrink and are reverted."""
    shares.share_type(revert_to_snapshot_support="True")
    shares.back_end(revert_to_snapshot_support=True)
    return ElasticLedger()


def gigabytes(shares: Shares) -> tuple[int, int]:
    """Return what is counted for a project, and promised in the pool."""
    with shares.database.transaction() as session:
        promised = session.scalar(select(PoolRow.promised_gib))
        return usage.in_use(session, "p1")["gigabytes"], promised or 0


def sized(shares: Shares, driver: LedgerDriver, size: int) -> str:
    made = shares.post("/shares", {"share": {"size": size, "share_proto": "NFS"}}, by=MEMBER)["share"]["id"]
    work_off(shares, driver)
    return str(made)


def act(shares: Shares, share: str, **action: Any) -> None:
    shares.post(f"/shares/{share}/action", action, 202)


@pytest.mark.parametrize("is_refused", [False, True])
def test_growth_counts_no_longer_when_a_share_was_reset_meanwhile(
    shares: Shares, elastic: ElasticLedger, is_refused: bool
) -> None:
    share = sized(shares, elastic, 1)
    act(shares, share, extend={"new_size": 5})
    assert gigabytes(shares) == (5, 5)
    act(shares, share, reset_status={"status": "error"})
    elastic.refused = {"extend_share"} if is_refused else set()
    work_off(shares, elastic)
    assert gigabytes(shares) == (1, 1)


def test_growth_counts_no_longer_when_a_share_is_reset_while_its_back_end_extends_it(
    shares: Shares, elastic: ElasticLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = sized(shares, elastic, 1)
    act(shares, share, extend={"new_size": 5})
    reset = {"reset_status": {"status": "error"}}
    monkeypatch.setattr(elastic, "extend_share", lambda *_: shares.post(f"/shares/{share}/action", reset, 202))
    work_off(shares, elastic)
    assert gigabytes(shares) == (1, 1)


def test_growth_counts_no_longer_when_a_share_is_deleted_by_force_while_it_grows(
    shares: Shares, elastic: ElasticLedger
) -> None:
    share = sized(shares, elastic, 1)
    act(shares, share, extend={"new_size": 5})
    act(shares, share, force_delete=None)
    work_off(shares, elastic)
    assert gigabytes(shares) == (0, 0)


@pytest.mark.parametrize("what", ["fails", "is reset", "works"])
def test_what_a_revert_grows_by_is_counted_only_if_it_works(shares: Shares, elastic: ElasticLedger, what: str) -> None:
    share = sized(shares, elastic, 5)
    snapshot = shares.post("/snapshots", {"snapshot": {"share_id": share}}, 202, by=MEMBER)["snapshot"]["id"]
    work_off(shares, elastic)
    act(shares, share, shrink={"new_size": 1})
    work_off(shares, elastic)
    assert gigabytes(shares) == (1, 1)
    act(shares, share, revert={"snapshot_id": snapshot})
    assert gigabytes(shares) == (5, 5)
    if what == "is reset":
        act(shares, share, reset_status={"status": "error"})
    elastic.refused = {"revert_share"} if what == "fails" else set()
    work_off(shares, elastic)
    assert gigabytes(shares) == ((5, 5) if what == "works" else (1, 1))


def test_giving_back_never_counts_below_nothing(shares: Shares) -> None:
    use(shares, gigabytes=2)
    with shares.database.transaction() as session:
        usage.give_back(session, Owner("p1", "ann"), {"gigabytes": 3, "shares": 1})
        assert usage.in_use(session, "p1")["gigabytes"] == usage.in_use(session, "p1")["shares"] == 0


def test_a_share_types_limit_of_one_share_holds(shares: Shares, elastic: ElasticLedger) -> None:
    share = sized(shares, elastic, 2)
    set_quota(shares, "?share_type=gold", per_share_gigabytes=2)
    body = {"share": {"size": 3, "share_proto": "NFS"}}
    words = "Requested share size 3 is larger than maximum allowed limit 2."
    refused(shares.call("POST", "/shares", body, by=MEMBER), 413, words)
    extended = shares.call("POST", f"/shares/{share}/action", {"extend": {"new_size": 3}}, by=MEMBER)
    refused(extended, 413, words)
    shares.share_type("silver")
    shares.post("/shares", {"share": {**body["share"], "share_type": "silver"}}, by=MEMBER)
