"""Manila's own DummyDriver, unchanged, through the adapter: all that it can do."""

import importlib
import os
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from tests.functional.shares.manila_backends import DUMMY, backend, dummy, rule, share, snapshot

from isthmus.control.errors import InvalidInput, NotSupported
from isthmus.shares.drivers.contract import BackendUnavailable, NotAdoptable
from isthmus.shares.drivers.facts import (
    AccessChange,
    AccessType,
    ExportLocation,
    Progress,
    ReplicaSnapshot,
    ShareFacts,
    SnapshotOutcome,
    SnapshotState,
)
from isthmus.shares.drivers.manila import access
from isthmus.shares.drivers.manila.driver import ManilaDriver
from isthmus.shares.drivers.manila.journal import Journal
from isthmus.shares.drivers.private_data import PrivateDataFile
from isthmus.shares.model import ReplicaState


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "private"


@pytest.fixture
def rome(store: Path) -> ManilaDriver:
    return dummy("ROME", store)


def test_the_report_is_what_the_driver_says(rome: ManilaDriver) -> None:
    report = rome.report()
    assert report.answers
    assert report.protocols == ("NFS", "CIFS")
    assert [pool.name for pool in report.pools] == ["fake_pool_for_ROME"]
    assert (report.pools[0].total_gib, report.pools[0].free_gib) == (1230.0, 1210.0)
    assert report.snapshot_support
    assert report.create_share_from_snapshot_support
    assert report.revert_to_snapshot_support
    assert report.mount_snapshot_support
    assert report.mount_point_name_support
    assert report.group_consistent_snapshot_support == "pool"
    assert not report.driver_handles_share_servers
    assert report.capabilities["driver_name"] == "Dummy"


def test_options_are_of_their_own_section(store: Path, rome: ManilaDriver) -> None:
    paris = dummy("PARIS", store, reserved_share_percentage="7", replication_domain="both")
    assert paris.report().pools[0].reserved_percentage == 7
    assert paris.report().replication_type == "readable"
    assert rome.report().pools[0].reserved_percentage == 0
    assert rome.report().replication_type is None


def test_methods_can_be_slowed_down(store: Path) -> None:
    slow = dummy("SLOW", store, dummy_driver_driver_methods_delays="create_share:0.5,delete_share:0")
    begun = time.monotonic()
    slow.create_share(share("SLOW"))
    assert time.monotonic() - begun >= 0.5


def test_a_wrong_option_is_named(store: Path) -> None:
    with pytest.raises(InvalidInput, match="does not have 'fly' method"):
        dummy("WRONG", store, dummy_driver_driver_methods_delays="fly:1")


def test_share_servers_are_refused(store: Path) -> None:
    with pytest.raises(InvalidInput, match=r"\[SERVERS\] sets driver_handles_share_servers"):
        dummy("SERVERS", store, driver_handles_share_servers="True")


@pytest.mark.parametrize("path", ["", "Dummy", "manila.tests.share.drivers.dummy.Nothing", "manila.no.such.Module"])
def test_a_driver_that_is_not_there_is_named(store: Path, path: str) -> None:
    with pytest.raises(InvalidInput, match="share_driver"):
        backend("NOWHERE", store, share_driver=path)


def test_nothing_is_done_before_the_start(store: Path) -> None:
    driver = ManilaDriver("LATER", {"share_driver": DUMMY})
    driver.keep_private_data_in(PrivateDataFile(store))
    with pytest.raises(BackendUnavailable, match="has not started"):
        driver.create_share(share("LATER"))
    assert not driver.report().answers


def test_a_share_is_made_once(rome: ManilaDriver) -> None:
    facts = share("ROME")
    made = rome.create_share(facts)
    assert len(made.exports) == 3
    assert [export.admin_only for export in made.exports] == [True, False, False]
    assert [export.preferred for export in made.exports] == [False, True, False]
    assert rome.create_share(facts) == made


def test_another_process_knows_what_was_made(rome: ManilaDriver, store: Path) -> None:
    facts = share("ROME")
    made = rome.create_share(facts)
    assert dummy("ROME", store).create_share(facts) == made


def test_a_share_has_the_name_that_its_mount_point_was_given(rome: ManilaDriver) -> None:
    made = rome.create_share(share("ROME", mount_point_name="project_data"))
    assert made.exports[0].path.endswith("/project_data")


def test_a_protocol_that_the_driver_does_not_know_fails(rome: ManilaDriver) -> None:
    with pytest.raises(Exception, match="Unsupported share protocol") as raised:
        rome.create_share(share("ROME", protocol="MAPRFS"))
    assert getattr(raised.value, "code", "") == "share-driver-failed"


def test_a_share_is_resized_measured_and_deleted_twice(rome: ManilaDriver) -> None:
    facts = share("ROME")
    rome.create_share(facts)
    rome.extend_share(facts, 3)
    rome.shrink_share(replace(facts, size_gib=3), 2)
    assert rome.used_gib(facts) == 1.0
    rome.delete_share(facts)
    rome.delete_share(facts)
    rome.delete_share(share("ROME"))


def test_a_deleted_share_leaves_nothing_behind(rome: ManilaDriver, store: Path) -> None:
    facts = share("ROME")
    rome.create_share(facts)
    taken = snapshot(facts)
    rome.create_snapshot(taken)
    rome.delete_snapshot(taken)
    rome.delete_share(facts)
    kept = PrivateDataFile(store)
    assert kept.read(facts.instance_id) == {}
    assert kept.read(taken.instance_id) == {}


def test_rules_that_the_protocol_does_not_know_are_refused_one_by_one(rome: ManilaDriver) -> None:
    facts = share("ROME")
    rome.create_share(facts)
    held, good, bad = rule("10.0.0.1"), rule("10.0.0.2"), rule("bob", AccessType.USER)
    assert rome.update_access(facts, AccessChange((held,), added=(held,))) == {}
    outcomes = rome.update_access(facts, AccessChange((held, good, bad), added=(good, bad)))
    assert outcomes.keys() == {bad.rule_id}
    assert "Unsupported 'user' access type" in (outcomes[bad.rule_id].error or "")
    assert rome.update_access(facts, AccessChange((held, good), removed=(bad,))) == {}


def test_of_a_whole_set_the_wrong_rules_are_refused(rome: ManilaDriver) -> None:
    facts = share("ROME", protocol="CIFS")
    rome.create_share(facts)
    good, bad = rule("alice", AccessType.USER), rule("10.0.0.1")
    assert rome.update_access(facts, AccessChange((bad, good))).keys() == {bad.rule_id}


def test_a_driver_without_ipv6_is_not_told_of_ipv6_clients(rome: ManilaDriver) -> None:
    facts = share("ROME")
    rome.create_share(facts)
    v6, v4 = rule("2001:db8::/64"), rule("10.0.0.1")
    change = access.without_ipv6(AccessChange((v6, v4), added=(v6,)))
    assert (change.wanted, change.added) == ((v4,), ())
    assert rome.update_access(facts, AccessChange((v6, v4), added=(v6, v4))) == {}


def test_snapshots_are_taken_mounted_reverted_to_and_cloned(rome: ManilaDriver) -> None:
    facts = share("ROME", extra_specs={"mount_snapshot_support": "True"})
    rome.create_share(facts)
    taken = snapshot(facts)
    made = rome.create_snapshot(taken)
    assert rome.create_snapshot(taken) == made
    assert made.provider_location is not None
    assert len(made.exports) == 3
    taken = replace(taken, provider_location=made.provider_location, exports=made.exports)
    client = rule("10.0.0.1")
    assert rome.update_snapshot_access(taken, AccessChange((client,), added=(client,))) == {}
    rome.revert_share(replace(facts, rules=(client,)), taken)
    clone = share("ROME", snapshot_instance_id=taken.instance_id)
    assert rome.create_share_from_snapshot(clone, taken).progress is Progress.DONE
    assert rome.creation_of(clone).exports == rome.create_share_from_snapshot(clone, taken).exports
    rome.delete_snapshot(taken)
    rome.delete_snapshot(taken)


def test_a_share_is_given_up_and_taken_again(rome: ManilaDriver) -> None:
    facts = share("ROME")
    exports = rome.create_share(facts).exports
    rome.unmanage_share(replace(facts, exports=exports))
    again = share("ROME", exports=exports[:1])
    found = rome.manage_share(again, {})
    assert found.size_gib == 1
    assert len(found.exports) == 3
    assert rome.manage_share(again, {}) == found


@pytest.mark.parametrize("path", ["nowhere:/at/all", "10.0.0.10:/path/to/fake/share/share_1_2"])
def test_a_share_that_is_not_there_cannot_be_taken(rome: ManilaDriver, path: str) -> None:
    with pytest.raises(NotAdoptable, match="could not manage share instance"):
        rome.manage_share(share("ROME", exports=(ExportLocation(path),)), {})


def test_a_snapshot_is_given_up_and_taken_again(rome: ManilaDriver) -> None:
    facts = share("ROME")
    rome.create_share(facts)
    taken = snapshot(facts)
    location = rome.create_snapshot(taken).provider_location
    rome.unmanage_snapshot(replace(taken, provider_location=location))
    again = snapshot(facts, provider_location=location)
    found = rome.manage_snapshot(again, {})
    assert (found.size_gib, found.provider_location) == (1, location)
    assert rome.manage_snapshot(again, {}) == found
    with pytest.raises(NotAdoptable):
        rome.manage_snapshot(snapshot(facts, provider_location="nowhere"), {})


def test_groups_are_snapshotted_as_one(rome: ManilaDriver) -> None:
    group = "5b0c4f43-51b5-4b7a-9a5e-3b7d0b0e7a11"
    rome.create_group(group, "machine@ROME#fake_pool_for_ROME")
    members = [share("ROME", share_group_id=group) for _ in range(2)]
    for member in members:
        rome.create_share(member)
    identity = "c3d1a2be-4ad2-4e36-8fb6-0c7f6c4df0b9"
    snapshots = [snapshot(member, group_snapshot_id=identity) for member in members]
    made = rome.create_group_snapshot(identity, snapshots)
    assert made.keys() == {each.instance_id for each in snapshots}
    assert all(each.provider_location for each in made.values())
    assert rome.create_group_snapshot(identity, snapshots) == made
    rome.delete_group_snapshot(identity, snapshots)
    rome.delete_group_snapshot(identity, snapshots)
    rome.delete_group(group, "machine@ROME#fake_pool_for_ROME")


def test_shares_are_ensured_transferred_and_told_their_metadata(rome: ManilaDriver) -> None:
    facts = share("ROME")
    rome.create_share(facts)
    assert rome.ensure_shares([facts]) == {}
    rome.accept_transfer(facts, "another project", "another user", clear_rules=True)
    rome.set_metadata(facts, {"colour": "blue"})


def test_a_creation_that_was_cut_off_is_made_anew(store: Path) -> None:
    facts = share("ROME")
    cut_off = f"""
import sys, os
from pathlib import Path
from tests.functional.shares.manila_backends import dummy, share
driver = dummy("ROME", Path({str(store)!r}))
whole = driver._made.create_share
def half(*args, **kwargs):
    whole(*args, **kwargs)
    os._exit(7)
driver._made.create_share = half
driver.create_share(share("ROME", instance_id={facts.instance_id!r}, share_id={facts.share_id!r}))
"""
    environment = os.environ | {"PYTHONPATH": "src:."}
    assert subprocess.run([sys.executable, "-c", cut_off], env=environment, check=False).returncode == 7
    made = dummy("ROME", store).create_share(facts)
    assert len(made.exports) == 3


def test_the_process_keeps_its_threads(rome: ManilaDriver) -> None:
    assert rome.report().answers
    patcher = importlib.import_module("eventlet.patcher")
    assert not patcher.is_monkey_patched("thread")
    assert not patcher.is_monkey_patched("socket")


def test_what_the_driver_cannot_do_is_not_supported(store: Path) -> None:
    plain = backend("PLAIN", store, share_driver="tests.functional.shares.manila_drivers.PlainDriver")
    facts = share("PLAIN")
    plain.create_share(facts)
    with pytest.raises(NotSupported, match="back end PLAIN cannot shrink share instance"):
        plain.shrink_share(facts, 1)


def replicas(rome: ManilaDriver, store: Path) -> tuple[ManilaDriver, ShareFacts, ShareFacts]:
    """Return a back end of rome's domain, the active replica at rome and one that is to be made there."""
    active = replace(share("ROME"), replica_state="active", replication_type="readable", status="available")
    rome.create_share(active)
    madrid = dummy("MADRID", store, replication_domain="both")
    host = "machine@MADRID#fake_pool_for_MADRID"
    new = replace(active, instance_id=str(uuid.uuid4()), replica_state="out_of_sync", host=host, read_only=True)
    return madrid, active, new


def test_a_replica_is_made_once_promoted_and_deleted_twice(rome: ManilaDriver, store: Path) -> None:
    madrid, active, new = replicas(rome, store)
    both = [active, new]
    rules = [rule("10.0.0.1")]
    made = madrid.create_replica(both, new, rules, [])
    assert (made.state, len(made.exports), dict(made.rules)) == (ReplicaState.IN_SYNC, 3, {})
    assert dummy("MADRID", store, replication_domain="both").create_replica(both, new, rules, []) == made
    assert madrid.state_of_replica(both, new, rules, []) is ReplicaState.IN_SYNC
    for _ in range(2):
        changes = madrid.promote_replica(both, new, rules, 5)
        assert changes[new.instance_id].state is ReplicaState.ACTIVE
        assert changes[active.instance_id].state is ReplicaState.IN_SYNC
    madrid.delete_replica(both, new, [])
    madrid.delete_replica(both, new, [])


def test_a_replica_that_a_crash_left_half_made_is_made_again(rome: ManilaDriver, store: Path) -> None:
    madrid, active, new = replicas(rome, store)
    Journal(PrivateDataFile(store)).begin(new.instance_id)
    assert madrid.create_replica([active, new], new, [], []).state is ReplicaState.IN_SYNC


def test_a_replicated_snapshot_is_made_once_reverted_to_and_deleted_twice(rome: ManilaDriver, store: Path) -> None:
    madrid, active, new = replicas(rome, store)
    both = [active, new]
    of_active = snapshot(active)
    taken = [of_active, replace(of_active, instance_id=str(uuid.uuid4()), share=new)]
    made = rome.create_replicated_snapshot(both, taken)
    assert {each.state for each in made.values()} == {SnapshotState.AVAILABLE}
    assert dummy("ROME", store).create_replicated_snapshot(both, taken) == made
    told = madrid.state_of_replicated_snapshot(both, new, taken, taken[1])
    assert told == SnapshotOutcome(SnapshotState.AVAILABLE)
    pairs = [ReplicaSnapshot(*taken)]
    assert madrid.create_replica(both, new, [], pairs).state is ReplicaState.IN_SYNC
    rome.revert_replicated_share(both, active, taken, of_active)
    for _ in range(2):
        gone = rome.delete_replicated_snapshot(both, taken)
        assert {each.state for each in gone.values()} == {SnapshotState.DELETED}
    assert set(gone) == {each.instance_id for each in taken}
