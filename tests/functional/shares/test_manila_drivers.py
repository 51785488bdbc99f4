"""What drivers for Manila do that the DummyDriver does not."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.functional.shares.manila_backends import backend, rule, share, snapshot

from isthmus.control.errors import InvalidInput, NotSupported
from isthmus.shares.drivers.contract import BackendUnavailable, DataWouldBeLost, DriverFailed, NotAdoptable
from isthmus.shares.drivers.facts import AccessChange, AccessLevel, ExportLocation, Progress
from isthmus.shares.drivers.manila.driver import ManilaDriver
from isthmus.shares.drivers.private_data import PrivateDataFile

DRIVERS = "tests.functional.shares.manila_drivers"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "private"


@pytest.fixture
def plain(store: Path) -> ManilaDriver:
    return backend("PLAIN", store, share_driver=f"{DRIVERS}.PlainDriver", plain_home='"/with quotes"')


@pytest.fixture
def failing(store: Path) -> ManilaDriver:
    return backend("FAILING", store, share_driver=f"{DRIVERS}.FailingDriver", plain_password="hunter2")


@pytest.fixture
def slow(store: Path) -> ManilaDriver:
    return backend("SLOWCLONE", store, share_driver=f"{DRIVERS}.SlowCloneDriver")


def test_a_back_end_without_pools_is_one_pool(plain: ManilaDriver) -> None:
    pool = plain.report().pools[0]
    assert pool.name == "PLAIN"
    assert pool.total_gib == float("inf")
    assert pool.free_gib is None
    assert pool.reserved_percentage == 5.0
    assert pool.thin_provisioning
    assert plain.report().capabilities["dedupe"] == [True, False]


def test_options_reach_the_driver_as_they_stand(plain: ManilaDriver, store: Path) -> None:
    facts = share("PLAIN")
    assert plain.create_share(facts).exports == (ExportLocation(f'"/with quotes"/share-{facts.instance_id}'),)
    lines = backend("LINES", store, share_driver=f"{DRIVERS}.PlainDriver", plain_list="a,\nb", plain_home="/$my_ip")
    assert lines._made.configuration.plain_list == ["a", "b"]


def test_back_ends_agree_on_what_they_share(plain: ManilaDriver, store: Path) -> None:
    with pytest.raises(InvalidInput, match="differ in state_path"):
        backend("OTHER", store, share_driver=f"{DRIVERS}.PlainDriver", state_path="/elsewhere")
    assert plain.report().answers


def test_the_access_methods_of_old_are_called(plain: ManilaDriver) -> None:
    facts = share("PLAIN")
    one, two = rule("10.0.0.1"), rule("10.0.0.2")
    plain.update_access(facts, AccessChange((one, two), added=(one, two)))
    assert plain._made.held == {"10.0.0.1": "rw", "10.0.0.2": "rw"}
    read_only = replace(one, level=AccessLevel.RO)
    plain.update_access(facts, AccessChange((read_only,), removed=(two,), changed=(read_only,)))
    assert plain._made.held == {"10.0.0.1": "ro"}
    plain._made.held.clear()
    plain.update_access(facts, AccessChange((one,)))
    assert plain._made.held == {"10.0.0.1": "rw"}


def test_a_share_that_is_gone_is_deleted(plain: ManilaDriver) -> None:
    plain.delete_share(share("PLAIN"))


def test_one_share_that_cannot_be_served_does_not_keep_the_others(plain: ManilaDriver) -> None:
    broken, moved, same = share("PLAIN", name="broken"), share("PLAIN", name="moved"), share("PLAIN")
    exports = plain.ensure_shares([broken, moved, same])
    assert exports == {moved.instance_id: (ExportLocation(f"/moved/share-{moved.instance_id}"),)}


def test_all_shares_are_ensured_at_once_by_a_driver_that_can(slow: ManilaDriver) -> None:
    facts = share("SLOWCLONE")
    assert slow.ensure_shares([facts]) == {facts.instance_id: (ExportLocation("/new", admin_only=True),)}


def test_what_no_driver_does_is_not_supported(plain: ManilaDriver) -> None:
    facts = share("PLAIN")
    for attempt in (
        lambda: plain.shrink_share(facts, 1),
        lambda: plain.extend_share(facts, 2),
        lambda: plain.create_snapshot(snapshot(facts)),
        lambda: plain.revert_share(facts, snapshot(facts)),
        lambda: plain.update_snapshot_access(snapshot(facts), AccessChange(())),
        lambda: plain.manage_share(facts, {}),
    ):
        with pytest.raises(NotSupported, match="back end PLAIN cannot"):
            attempt()
    assert plain.used_gib(facts) is None
    plain.set_metadata(facts, {"a": "b"})


def test_failures_have_their_kinds(failing: ManilaDriver) -> None:
    facts = share("FAILING")
    with pytest.raises(BackendUnavailable, match=r"could not delete .* array.example.com does not answer"):
        failing.delete_share(facts)
    with pytest.raises(BackendUnavailable, match="Could not communicate with storage array"):
        failing.extend_share(facts, 2)
    with pytest.raises(DataWouldBeLost, match=facts.instance_id):
        failing.shrink_share(facts, 1)
    with pytest.raises(NotAdoptable, match="it is a replica"):
        failing.manage_share(facts, {})


def test_a_silent_back_end_reports_that_it_is(failing: ManilaDriver) -> None:
    failing._made.held["x"] = "rw"
    report = failing.report()
    assert not report.answers
    assert "the array is silent" in (report.trouble or "")


def test_a_password_is_told_nobody(failing: ManilaDriver) -> None:
    with pytest.raises(DriverFailed) as raised:
        failing.create_share(share("FAILING"))
    assert "login admin:*** refused" in raised.value.message
    assert raised.value.__cause__ is None


def test_a_driver_that_wants_manilas_database_is_told_that_there_is_none(failing: ManilaDriver) -> None:
    with pytest.raises(NotSupported, match=r"reads or writes Manila's database \(share_get\)"):
        failing.create_snapshot(snapshot(share("FAILING")))


def test_a_long_clone_is_asked_after(slow: ManilaDriver) -> None:
    parent = share("SLOWCLONE")
    clone = share("SLOWCLONE", status="creating_from_snapshot")
    assert slow.create_share_from_snapshot(clone, snapshot(parent)).progress is Progress.UNDER_WAY
    assert slow.create_share_from_snapshot(clone, snapshot(parent)).progress is Progress.UNDER_WAY
    assert slow.creation_of(clone).percent == 50
    made = slow.creation_of(clone)
    assert made.progress is Progress.DONE
    assert made.exports == (ExportLocation("/clone", preferred=True),)
    assert made.metadata == {"__mount_options": "fs=one"}
    assert slow.creation_of(clone) == slow.create_share_from_snapshot(clone, snapshot(parent)) == made


def test_a_long_clone_can_fail(slow: ManilaDriver) -> None:
    clone = share("SLOWCLONE", name="doomed")
    slow.create_share_from_snapshot(clone, snapshot(share("SLOWCLONE")))
    with pytest.raises(DriverFailed, match="status is error"):
        slow.creation_of(clone)


def test_extra_specs_are_those_of_the_shares_type(store: Path) -> None:
    typed = backend("TYPED", store, share_driver=f"{DRIVERS}.TypedDriver")
    gold = share("TYPED", extra_specs={"plain:tier": "gold"})
    assert typed.create_share(gold).exports[0].path == "/gold/False"
    assert typed.create_share(share("TYPED", share_type_id=None)).exports[0].path == "/none/False"


def test_private_data_outlive_the_process_and_keys_are_the_drivers_own(slow: ManilaDriver, store: Path) -> None:
    clone = share("SLOWCLONE")
    slow.create_share_from_snapshot(clone, snapshot(share("SLOWCLONE")))
    private = slow._made.private_storage
    private.update(clone.instance_id, {"a": 1, "b": None})
    assert private.get(clone.instance_id) == {"polls": "0", "a": "1", "b": "None"}
    assert private.get(clone.instance_id, ["a", "z"]) == {"a": "1"}
    assert private.get(clone.instance_id, "z", "default") == "default"
    private.update(clone.instance_id, {"a": "2"}, delete_existing=True)
    assert private.get(clone.instance_id) == {"a": "2"}
    private.delete(clone.instance_id)
    assert private.get(clone.instance_id) == {}
    assert slow.create_share_from_snapshot(clone, snapshot(share("SLOWCLONE"))).progress is Progress.UNDER_WAY
    assert all(key.startswith("isthmus:") for key in PrivateDataFile(store).read(clone.instance_id))


def test_a_long_answer_is_kept_in_pieces_that_fit(slow: ManilaDriver, store: Path) -> None:
    facts = share("SLOWCLONE")
    home = "/" + "x" * 3000
    long = backend("LONG", store, share_driver=f"{DRIVERS}.PlainDriver", plain_home=home)
    made = long.create_share(facts)
    assert long.create_share(facts) == made
    assert max(len(value) for value in PrivateDataFile(store).read(facts.instance_id).values()) <= 1023
    long.delete_share(facts)
    assert PrivateDataFile(store).read(facts.instance_id) == {}
