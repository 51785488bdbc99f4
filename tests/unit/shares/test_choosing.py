from typing import Any

import pytest

from isthmus.control.errors import Unavailable
from isthmus.shares.scheduling.choosing import NO_POOLS, Rules, choose
from isthmus.shares.scheduling.facts import PoolState, Wanted

FILTERS = (
    "OnlyHostFilter",
    "AvailabilityZoneFilter",
    "CapacityFilter",
    "CapabilitiesFilter",
    "DriverFilter",
    "JsonFilter",
    "AffinityFilter",
    "AntiAffinityFilter",
    "CreateFromSnapshotFilter",
)
WEIGHERS = ("CapacityWeigher", "GoodnessWeigher", "PoolWeigher")
RULES = Rules(FILTERS, WEIGHERS, {})


def pool(
    host: str = "node@a#one",
    *,
    zone: str = "nova",
    total: float | None = 100,
    free: float | None = 100,
    promised: float = 0,
    **capabilities: object,
) -> PoolState:
    return PoolState(host, zone, total, free, promised, capabilities)


def chosen(pools: list[PoolState], wanted: Wanted, rules: Rules = RULES) -> str:
    choice = choose(pools, wanted, rules)
    assert choice.pool is not None, choice.emptied_by
    return choice.pool.host


def emptied(pools: list[PoolState], wanted: Wanted, rules: Rules = RULES) -> str | None:
    choice = choose(pools, wanted, rules)
    assert choice.pool is None
    return choice.emptied_by


def test_without_pools_no_filter_is_to_blame() -> None:
    assert emptied([], Wanted(1)) == NO_POOLS


def test_the_freest_pool_is_chosen() -> None:
    assert (
        chosen([pool("n@a#one", free=10), pool("n@a#two", free=20), pool("n@a#three", free=15)], Wanted(1)) == "n@a#two"
    )


def test_a_negative_multiplier_stacks_shares() -> None:
    stacking = Rules(FILTERS, WEIGHERS, {"CapacityWeigher": -1.0})
    assert chosen([pool("n@a#one", free=10), pool("n@a#two", free=20)], Wanted(1), stacking) == "n@a#one"


def test_equal_pools_are_taken_by_name() -> None:
    assert chosen([pool("n@a#two"), pool("n@a#one")], Wanted(1)) == "n@a#one"


def test_a_pool_of_unknown_space_comes_last_and_can_still_be_chosen() -> None:
    unknown = pool("n@a#dark", free=None)
    assert chosen([unknown, pool("n@a#small", free=5)], Wanted(1)) == "n@a#small"
    assert chosen([unknown, pool("n@a#small", free=5)], Wanted(10)) == "n@a#dark"


def test_an_endless_pool_comes_first() -> None:
    endless = pool("n@a#sky", total=float("inf"), free=float("inf"))
    assert chosen([pool("n@a#big", free=100), endless], Wanted(1)) == "n@a#sky"


@pytest.mark.parametrize("free", [9, 0])
def test_a_pool_with_too_little_space_is_left_out(free: float) -> None:
    assert emptied([pool(free=free)], Wanted(10)) == "CapacityFilter"


def test_the_reserved_part_is_never_given() -> None:
    reserved = pool(total=100, free=25, reserved_percentage=20)
    assert emptied([reserved], Wanted(6)) == "CapacityFilter"
    assert chosen([reserved], Wanted(5)) == reserved.host


def test_each_kind_of_request_has_its_own_reserve() -> None:
    pools = [
        pool(
            free=30,
            reserved_percentage=20,
            reserved_snapshot_percentage=5,
            reserved_share_extend_percentage=0,
        )
    ]
    assert emptied(pools, Wanted(25)) == "CapacityFilter"
    assert chosen(pools, Wanted(25, snapshot_host="node@a#one"))
    assert chosen(pools, Wanted(30, is_extension=True))


def test_a_thin_pool_is_promised_up_to_its_ratio() -> None:
    thin: dict[str, Any] = {"thin_provisioning": True, "max_over_subscription_ratio": 2.0}
    assert chosen([pool(free=80, promised=190, **thin)], Wanted(10))
    assert emptied([pool(free=80, promised=191, **thin)], Wanted(10)) == "CapacityFilter"


def test_a_type_may_ask_for_thick_shares_in_a_thin_pool() -> None:
    thin = pool(free=5, promised=95, thin_provisioning=[True, False], max_over_subscription_ratio=20.0)
    assert chosen([thin], Wanted(10))
    assert emptied([thin], Wanted(10, extra_specs={"thin_provisioning": "<is> False"})) == "CapacityFilter"


def test_a_ratio_below_one_is_an_error_of_the_back_end() -> None:
    assert emptied([pool(thin_provisioning=True, max_over_subscription_ratio=0.5)], Wanted(1)) == "CapacityFilter"


def test_the_zone_that_is_asked_for_and_those_of_the_type_are_kept() -> None:
    pools = [pool("n@a#one", zone="east"), pool("n@b#one", zone="west")]
    assert chosen(pools, Wanted(1, availability_zone="west")) == "n@b#one"
    assert chosen(pools, Wanted(1, availability_zones=("east", "north"))) == "n@a#one"
    assert emptied(pools, Wanted(1, availability_zone="south")) == "AvailabilityZoneFilter"


def test_capabilities_are_compared_with_the_types_specs() -> None:
    pools = [pool("n@a#one", snapshot_support=False), pool("n@b#one", snapshot_support=True)]
    assert chosen(pools, Wanted(1, extra_specs={"snapshot_support": "<is> True"})) == "n@b#one"
    assert emptied(pools, Wanted(1, extra_specs={"colour": "red"})) == "CapabilitiesFilter"


def test_shares_that_belong_together_lie_together_and_others_apart() -> None:
    pools = [pool("n@a#one"), pool("n@a#two")]
    assert chosen(pools, Wanted(1, same_hosts=frozenset({"n@a#two"}))) == "n@a#two"
    assert chosen(pools, Wanted(1, different_hosts=frozenset({"n@a#one"}))) == "n@a#two"
    assert emptied(pools, Wanted(1, same_hosts=frozenset())) == "AffinityFilter"
    assert emptied(pools, Wanted(1, different_hosts=frozenset({"n@a#one", "n@a#two"}))) == "AntiAffinityFilter"


def test_an_administrator_names_the_one_pool() -> None:
    pools = [pool("n@a#one", free=100), pool("n@a#two", free=10)]
    assert chosen(pools, Wanted(1, only_host="n@a#two")) == "n@a#two"
    assert emptied(pools, Wanted(1, only_host="n@a#three")) == "OnlyHostFilter"


def test_a_share_from_a_snapshot_stays_with_its_back_end_or_its_replication_domain() -> None:
    near = pool("n@a#two", free=10)
    far = pool("n@b#one", free=100)
    friend = pool("n@c#one", free=50, replication_domain="ring")
    wanted = Wanted(1, snapshot_host="n@a#one")
    assert chosen([near, far, friend], wanted) == "n@a#two"
    assert emptied([far, friend], wanted) == "CreateFromSnapshotFilter"
    assert chosen([far, friend], Wanted(1, snapshot_host="n@a#one", replication_domain="ring")) == "n@c#one"


def test_a_pool_that_failed_is_not_tried_again_even_if_no_filter_says_so() -> None:
    assert emptied([pool("n@a#one")], Wanted(1, tried=("n@a#one",)), Rules((), (), {})) == "RetryFilter"


def test_a_drivers_functions_are_heeded() -> None:
    pools = [
        pool("n@a#one", filter_function="share.size < 10", goodness_function="20"),
        pool("n@a#two", filter_function="share.size >= 5", goodness_function="share.size > 6 ? 90 : 10"),
    ]
    assert chosen(pools, Wanted(20, share={"size": 20})) == "n@a#two"
    assert chosen(pools, Wanted(7, share={"size": 7})) == "n@a#two"
    assert chosen(pools, Wanted(5, share={"size": 5})) == "n@a#one"


def test_a_filter_function_that_fails_leaves_its_pool_out() -> None:
    assert emptied([pool(filter_function="share.colour == red")], Wanted(1, share={"size": 1})) == "DriverFilter"


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ('[">=", "$free_capacity_gb", 50]', True),
        ('["and", [">=", "$free_capacity_gb", 50], ["=", "$capabilities.tier", "gold"]]', True),
        ('["=", "$capabilities.tier", "tin"]', False),
        ('["not", ["=", "$capabilities.tier", "tin"]]', True),
        ('["in", "$capabilities.tier", "tin", "gold"]', True),
        ('["no-such", 1]', False),
        ("not JSON", False),
    ],
)
def test_a_query_of_the_caller_is_heeded(query: str, passes: bool) -> None:
    choice = choose([pool(free=60, tier="gold")], Wanted(1, query=query), RULES)
    assert (choice.pool is not None) is passes
    assert passes or choice.emptied_by == "JsonFilter"


def test_an_unknown_filter_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(Unavailable, match=r"NoSuchFilter; there are .*CapacityFilter"):
        choose([pool()], Wanted(1), Rules(("NoSuchFilter",), (), {}))
