"""What every share driver must do, whatever its back end (`isthmus.shares.drivers.contract`)."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests.contract.share_driver_worlds import WORLDS, ShareDriverWorld, share_facts, snapshot_facts

from isthmus.control.errors import NotFound, Unavailable
from isthmus.shares.drivers.contract import BackendFull, BackendUnavailable, DataWouldBeLost, NotAdoptable, ShareDriver
from isthmus.shares.drivers.facts import (
    AccessChange,
    AccessLevel,
    Creation,
    ExportLocation,
    Progress,
    ShareFacts,
    SnapshotFacts,
)

CREATION_SECONDS = 60
RW, RO = AccessLevel.RW, AccessLevel.RO


@pytest.fixture(params=sorted(WORLDS), scope="module")
def shared_world(request: pytest.FixtureRequest) -> Iterator[ShareDriverWorld]:
    with WORLDS[request.param]() as world:
        yield world
        world.driver.close()
        world.driver.close()


@pytest.fixture
def world(shared_world: ShareDriverWorld) -> Iterator[ShareDriverWorld]:
    yield shared_world
    assert shared_world.leftovers() == []


@pytest.fixture
def driver(world: ShareDriverWorld) -> ShareDriver:
    return world.driver


@pytest.fixture
def snapshots(driver: ShareDriver) -> None:
    if not driver.report().snapshot_support:
        pytest.skip("the back end reports no snapshot_support")


MakeShare = Callable[..., ShareFacts]
MakeSnapshot = Callable[[ShareFacts], SnapshotFacts]


@pytest.fixture
def make_share(world: ShareDriverWorld) -> Iterator[MakeShare]:
    made: list[ShareFacts] = []

    def make(size_gib: int = 1) -> ShareFacts:
        facts = share_facts(world, size_gib)
        made.append(facts)
        return with_creation(facts, finished(world.driver, facts, world.driver.create_share(facts)))

    yield make
    for share in made:
        world.driver.delete_share(share)


@pytest.fixture
def make_snapshot(world: ShareDriverWorld, make_share: MakeShare) -> Iterator[MakeSnapshot]:
    made: list[SnapshotFacts] = []

    def make(share: ShareFacts) -> SnapshotFacts:
        facts = snapshot_facts(share)
        made.append(facts)
        done = world.driver.create_snapshot(facts)
        return replace(
            facts,
            provider_location=done.provider_location,
            exports=done.exports,
            private=done.private,
            status="available",
        )

    yield make
    for snapshot in made:
        world.driver.delete_snapshot(snapshot)


def with_creation(facts: ShareFacts, creation: Creation) -> ShareFacts:
    return replace(facts, exports=creation.exports, private=creation.private, status="available")


def finished(driver: ShareDriver, facts: ShareFacts, creation: Creation) -> Creation:
    deadline = time.monotonic() + CREATION_SECONDS
    while creation.progress is Progress.UNDER_WAY:
        assert 0 <= creation.percent < 100
        assert time.monotonic() < deadline
        creation = driver.creation_of(replace(facts, private=creation.private))
    return creation


# Reports and starting


def test_a_report_names_pools_and_protocols(driver: ShareDriver, world: ShareDriverWorld) -> None:
    report = driver.report()
    assert report.answers
    assert report.trouble is None
    assert world.protocol in report.protocols
    assert world.host.partition("#")[2] in [pool.name for pool in report.pools]
    for pool in report.pools:
        assert pool.free_gib is None or pool.total_gib is None or 0 <= pool.free_gib <= pool.total_gib


def test_starting_twice_changes_nothing(driver: ShareDriver, make_share: MakeShare) -> None:
    share = make_share()
    driver.start()
    assert driver.create_share(share).exports == share.exports


def test_a_silent_storage_is_reported_and_found_again(world: ShareDriverWorld, make_share: MakeShare) -> None:
    share = make_share()
    with world.silence():
        report = world.driver.report()
        assert not report.answers
        assert report.trouble
        with pytest.raises(BackendUnavailable) as refused:
            world.driver.create_share(share_facts(world))
        assert isinstance(refused.value, Unavailable)
        assert refused.value.retryable
    assert world.driver.report().answers
    assert world.driver.create_share(share).exports == share.exports


# Shares


def test_a_share_is_made_once(driver: ShareDriver, make_share: MakeShare) -> None:
    share = make_share()
    assert share.exports
    assert driver.create_share(share).exports == share.exports


def test_a_new_process_knows_the_share(world: ShareDriverWorld, make_share: MakeShare) -> None:
    share = make_share()
    assert world.another_driver().create_share(share).exports == share.exports


def test_two_shares_have_different_exports(make_share: MakeShare) -> None:
    one, two = make_share(), make_share()
    assert not {location.path for location in one.exports} & {location.path for location in two.exports}


def test_a_share_can_be_removed_twice_and_without_being_made(driver: ShareDriver, world: ShareDriverWorld) -> None:
    share = share_facts(world)
    driver.delete_share(share)
    made = with_creation(share, driver.create_share(share))
    driver.delete_share(made)
    driver.delete_share(made)


def test_a_share_that_no_pool_can_hold_is_refused_and_leaves_nothing(
    driver: ShareDriver, world: ShareDriverWorld
) -> None:
    share = share_facts(world, world.too_large_gib)
    with pytest.raises(BackendFull) as refused:
        driver.create_share(share)
    assert share.instance_id in refused.value.message
    driver.delete_share(share)


def test_a_share_is_extended_and_shrunk(driver: ShareDriver, make_share: MakeShare) -> None:
    share = make_share(1)
    driver.extend_share(share, 2)
    driver.extend_share(replace(share, size_gib=2), 2)
    driver.shrink_share(replace(share, size_gib=2), 1)
    driver.shrink_share(share, 1)


def test_a_share_that_holds_more_is_not_shrunk(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare
) -> None:
    if not world.keeps_data:
        pytest.skip("the back end keeps no data")
    share = make_share(2)
    for number in range(17):
        world.write(share, str(number), bytes(64 << 20))
    with pytest.raises(DataWouldBeLost) as refused:
        driver.shrink_share(share, 1)
    assert share.instance_id in refused.value.message
    world.write(share, "more", b"still two GiB" * 1000)
    assert len(world.read(share)) == 18


def test_usage_grows_with_what_is_written(driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare) -> None:
    share = make_share()
    if not world.keeps_data or driver.used_gib(share) is None:
        pytest.skip("the back end does not tell how much a share holds")
    world.write(share, "file", bytes(range(256)) * (1 << 17))
    driver.extend_share(share, 2)
    driver.shrink_share(replace(share, size_gib=2), 1)  # has everything counted
    deadline = time.monotonic() + 60
    while (driver.used_gib(share) or 0) < 0.03:
        assert time.monotonic() < deadline
        time.sleep(0.5)


@pytest.mark.parametrize("call", ["extend_share", "update_access", "create_snapshot", "used_gib"])
def test_a_share_that_is_gone_is_named(driver: ShareDriver, world: ShareDriverWorld, call: str) -> None:
    share = share_facts(world)
    calls: dict[str, Callable[[], object]] = {
        "extend_share": lambda: driver.extend_share(share, 2),
        "update_access": lambda: driver.update_access(share, AccessChange((world.rule(1, RW),))),
        "create_snapshot": lambda: driver.create_snapshot(snapshot_facts(share)),
        "used_gib": lambda: driver.used_gib(share),
    }
    if not world.keeps_data:
        pytest.skip("the back end keeps nothing that could be gone")
    with pytest.raises(NotFound) as refused:
        calls[call]()
    assert share.instance_id in refused.value.message


# Access


def test_exactly_the_wanted_rules_hold(driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare) -> None:
    share = make_share()
    one, two, three = world.rule(1, RW), world.rule(2, RO), world.rule(3, RW)
    for wanted in ((one, two), (one, two), (replace(one, level=RO), three), (), ()):
        outcomes = driver.update_access(share, AccessChange(wanted))
        assert not [outcome for outcome in outcomes.values() if outcome.error]
        if world.keeps_data:
            served = [(client, level) for instance, client, level in world.served() if instance == share.instance_id]
            assert served == sorted((rule.to, rule.level.value) for rule in wanted)


def test_a_rule_of_another_kind_is_an_outcome_and_the_others_hold(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare
) -> None:
    share = make_share()
    good, wrong = world.rule(1, RW), world.wrong_rule()
    outcomes = driver.update_access(share, AccessChange((good, wrong), added=(good, wrong)))
    assert outcomes[wrong.rule_id].error
    assert good.rule_id not in outcomes or not outcomes[good.rule_id].error


def test_rules_of_a_share_never_touch_another(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare
) -> None:
    if not world.keeps_data:
        pytest.skip("the back end serves nothing")
    one, two = make_share(), make_share()
    for share, number in ((one, 1), (two, 2)):
        driver.update_access(share, AccessChange((world.rule(number, RW),)))
    driver.update_access(one, AccessChange(()))
    assert [instance for instance, _, _ in world.served()] == [two.instance_id]


def test_shares_are_served_again(driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare) -> None:
    share = make_share()
    driver.update_access(share, AccessChange((world.rule(1, RW),)))
    fresh = world.another_driver()
    exports = fresh.ensure_shares([share, share_facts(world)])
    assert exports.get(share.instance_id, share.exports) == share.exports
    fresh.update_access(share, AccessChange((world.rule(1, RW),)))


# Snapshots


@pytest.mark.usefixtures("snapshots")
def test_a_snapshot_is_made_once_and_removed_twice(
    driver: ShareDriver, make_share: MakeShare, make_snapshot: MakeSnapshot
) -> None:
    snapshot = make_snapshot(make_share())
    assert driver.create_snapshot(snapshot).provider_location == snapshot.provider_location
    driver.delete_snapshot(snapshot)
    driver.delete_snapshot(snapshot)


@pytest.mark.usefixtures("snapshots")
def test_a_share_made_from_a_snapshot_has_its_bytes_and_outlives_it(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare, make_snapshot: MakeSnapshot
) -> None:
    if not driver.report().create_share_from_snapshot_support:
        pytest.skip("the back end reports no create_share_from_snapshot_support")
    origin = make_share()
    if world.keeps_data:
        world.write(origin, "kept", b"as it was")
    snapshot = make_snapshot(origin)
    if world.keeps_data:
        world.write(origin, "kept", b"as it is now")
    facts = replace(share_facts(world), snapshot_instance_id=snapshot.instance_id)
    try:
        creation = finished(driver, facts, driver.create_share_from_snapshot(facts, snapshot))
        clone = with_creation(facts, creation)
        assert driver.create_share_from_snapshot(clone, snapshot).exports == clone.exports
        driver.delete_snapshot(snapshot)
        if world.keeps_data:
            assert world.read(clone) == {"kept": b"as it was"}
            world.write(clone, "new", b"writable")
            assert world.read(origin) == {"kept": b"as it is now"}
    finally:
        driver.delete_share(facts)


@pytest.mark.usefixtures("snapshots")
def test_a_share_is_put_back_to_its_newest_snapshot(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare, make_snapshot: MakeSnapshot
) -> None:
    if not driver.report().revert_to_snapshot_support:
        pytest.skip("the back end reports no revert_to_snapshot_support")
    share = make_share()
    if world.keeps_data:
        world.write(share, "kept", b"as it was")
    snapshot = make_snapshot(share)
    for _ in range(2):
        if world.keeps_data:
            world.write(share, "kept", b"spoiled")
            world.write(share, "new", b"to go")
        driver.revert_share(share, snapshot)
        driver.revert_share(share, snapshot)
        if world.keeps_data:
            assert world.read(share) == {"kept": b"as it was"}


@pytest.mark.usefixtures("snapshots")
def test_a_snapshot_that_can_be_mounted_is_for_reading(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare, make_snapshot: MakeSnapshot
) -> None:
    if not driver.report().mount_snapshot_support:
        pytest.skip("the back end reports no mount_snapshot_support")
    snapshot = make_snapshot(make_share())
    assert snapshot.exports
    rule = world.rule(1, RW)
    for wanted in ((rule,), (rule,), ()):
        assert not driver.update_snapshot_access(snapshot, AccessChange(wanted))
        if world.keeps_data:
            assert world.served() == [(snapshot.instance_id, one.to, RO.value) for one in wanted]


@pytest.mark.usefixtures("snapshots")
def test_snapshots_of_a_group_come_and_go_together(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare
) -> None:
    group = "0f0f0f0f-0000-4000-8000-000000000000"
    driver.create_group(group, world.host)
    driver.create_group(group, world.host)
    members = [snapshot_facts(make_share()), snapshot_facts(make_share())]
    made = driver.create_group_snapshot("1f1f1f1f-0000-4000-8000-000000000000", members)
    assert set(made) == {member.instance_id for member in members}
    assert driver.create_group_snapshot("1f1f1f1f-0000-4000-8000-000000000000", members) == made
    for _ in range(2):
        driver.delete_group_snapshot("1f1f1f1f-0000-4000-8000-000000000000", members)
        driver.delete_group(group, world.host)


# Management


def test_a_share_that_was_given_up_is_taken_again(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare
) -> None:
    if not world.keeps_data:
        pytest.skip("the back end keeps nothing that could be given up")
    share = make_share(2)
    world.write(share, "kept", b"mine")
    driver.unmanage_share(share)
    driver.unmanage_share(share)
    assert world.served() == []
    taken = replace(share_facts(world), exports=share.exports)
    try:
        for _ in range(2):
            adopted = driver.manage_share(taken, {})
            assert adopted.size_gib == 2
            assert adopted.exports
        assert world.read(taken) == {"kept": b"mine"}
    finally:
        driver.delete_share(taken)


@pytest.mark.parametrize("path", ["nothing-there", "..", ".", "", "shares", "/etc", "a b;c"])
def test_what_is_no_share_is_not_taken(driver: ShareDriver, world: ShareDriverWorld, path: str) -> None:
    if not world.keeps_data:
        pytest.skip("the back end takes whatever it is told")
    facts = replace(share_facts(world), exports=(ExportLocation(f"127.0.0.1:/{path}"),))
    with pytest.raises(NotAdoptable):
        driver.manage_share(facts, {})
    driver.delete_share(facts)


def test_a_managed_share_is_not_taken_again(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare
) -> None:
    if not world.keeps_data:
        pytest.skip("the back end takes whatever it is told")
    share = make_share()
    facts = replace(share_facts(world), exports=share.exports)
    with pytest.raises(NotAdoptable):
        driver.manage_share(facts, {})
    driver.delete_share(facts)


@pytest.mark.usefixtures("snapshots")
def test_a_snapshot_that_was_given_up_is_taken_again(
    driver: ShareDriver, world: ShareDriverWorld, make_share: MakeShare, make_snapshot: MakeSnapshot
) -> None:
    if not world.keeps_data:
        pytest.skip("the back end keeps nothing that could be given up")
    share, other = make_share(), make_share()
    snapshot = make_snapshot(share)
    driver.unmanage_snapshot(snapshot)
    driver.unmanage_snapshot(snapshot)
    taken = replace(snapshot_facts(share), provider_location=snapshot.provider_location)
    with pytest.raises(NotAdoptable):
        driver.manage_snapshot(replace(taken, share=other), {})
    try:
        for _ in range(2):
            assert driver.manage_snapshot(taken, {}).provider_location
    finally:
        driver.delete_snapshot(taken)
