"""Manila's CephFSDriver, unchanged, on a real Ceph cluster; what it serves is mounted with the keys it gives out."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from lab.ceph import FILE_SYSTEM, CephCluster, CephMount
from tests.functional.shares.manila_backends import backend, rule, share, snapshot

from isthmus.shares.drivers.contract import DataWouldBeLost, DriverFailed
from isthmus.shares.drivers.facts import (
    AccessChange,
    AccessLevel,
    AccessRule,
    AccessType,
    Creation,
    Progress,
    ShareFacts,
)
from isthmus.shares.drivers.manila.driver import ManilaDriver

GIB = 1 << 30
PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class World:
    """The cluster and a back end of its file system."""

    cluster: CephCluster
    driver: ManilaDriver

    def mount(self, made: Creation, user: str, key: str | None) -> CephMount:
        """Return a mount of a share, as the client who was given this key."""
        return CephMount(self.cluster, user, key or "", made.exports[0].path.rpartition(":")[2])

    def allow(self, facts: ShareFacts, client: AccessRule) -> str | None:
        """Add one rule to a share that has none; return the key."""
        return self.driver.update_access(facts, AccessChange((client,), added=(client,)))[client.rule_id].key


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with CephCluster() as cluster, pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(cluster.bindings()))
        driver = backend(
            "CEPH",
            tmp_path_factory.mktemp("ceph") / "private",
            share_driver="manila.share.drivers.cephfs.driver.CephFSDriver",
            cephfs_conf_path=str(cluster.configuration),
            cephfs_auth_id="admin",
            cephfs_cluster_name="ceph",
            cephfs_filesystem_name=FILE_SYSTEM,
            cephfs_protocol_helper_type="CEPHFS",
        )
        yield World(cluster, driver)
        driver.close()


def ceph_share(**changes: object) -> ShareFacts:
    return share("CEPH", protocol="CEPHFS", host=f"machine@CEPH#{FILE_SYSTEM}", **changes)


def user(name: str, level: AccessLevel = AccessLevel.RW) -> AccessRule:
    return rule(name, AccessType.CEPHX, level)


def test_the_report_names_the_file_system(world: World) -> None:
    report = world.driver.report()
    assert report.answers
    assert report.protocols == ("CEPHFS",)
    assert report.snapshot_support
    assert report.create_share_from_snapshot_support
    assert (report.pools[0].total_gib or 0) > 1


def test_a_share_is_written_and_read_with_the_key_that_was_given_out(world: World) -> None:
    facts = ceph_share()
    made = world.driver.create_share(facts)
    assert world.driver.create_share(facts) == made
    assert made.metadata == {"__mount_options": f"fs={FILE_SYSTEM}"}
    writer, reader = user("alice"), user("bob", AccessLevel.RO)
    keys = world.driver.update_access(facts, AccessChange((writer, reader), added=(writer, reader)))
    text = os.urandom(3 << 20)
    with world.mount(made, "alice", keys[writer.rule_id].key) as mounted:
        (mounted / "file").write_bytes(text)
    with world.mount(made, "bob", keys[reader.rule_id].key) as mounted:
        assert (mounted / "file").read_bytes() == text
        with pytest.raises(OSError, match="Permission denied") as refused:
            (mounted / "other").write_bytes(b"x")
        assert refused.value.errno in {errno.EACCES, errno.EROFS, errno.EPERM}
    world.driver.delete_share(facts)
    world.driver.delete_share(facts)
    assert facts.instance_id not in world.cluster.ceph("fs", "subvolume", "ls", FILE_SYSTEM)


def test_a_share_holds_what_its_size_allows(world: World) -> None:
    facts = ceph_share()
    made = world.driver.create_share(facts)
    with world.mount(made, "carol", world.allow(facts, user("carol"))) as mounted:
        descriptor = os.open(mounted / "file", os.O_CREAT | os.O_WRONLY)
        with pytest.raises(OSError, match="quota"):
            os.pwrite(descriptor, b"x", GIB + (200 << 20))
        world.driver.extend_share(facts, 2)
        _eventually_writes(descriptor, GIB + (200 << 20))
        os.fsync(descriptor)
        os.close(descriptor)
        _until(lambda: _bytes_below(mounted) > GIB)
    with pytest.raises(DataWouldBeLost):
        world.driver.shrink_share(replace(facts, size_gib=2), 1)
    world.driver.shrink_share(replace(facts, size_gib=3), 2)
    world.driver.delete_share(facts)


def test_a_client_whose_rule_is_removed_is_shut_out_at_once(world: World) -> None:
    facts = ceph_share()
    made = world.driver.create_share(facts)
    client = user("dave")
    key = world.allow(facts, client)
    with world.mount(made, "dave", key) as mounted:
        (mounted / "file").write_bytes(b"before")
        world.driver.update_access(facts, AccessChange((), removed=(client,)))
        with pytest.raises(OSError, match=r"shutdown|Permission|not connected|stale|permitted"):
            (mounted / "another").write_bytes(b"after")
    with pytest.raises(PermissionError, match="ceph-fuse did not mount"), world.mount(made, "dave", key):
        pass
    world.driver.delete_share(facts)


def test_a_clone_has_the_bytes_of_its_snapshot(world: World) -> None:
    facts = ceph_share()
    made = world.driver.create_share(facts)
    taken = snapshot(facts)
    with world.mount(made, "erin", world.allow(facts, user("erin"))) as mounted:
        (mounted / "file").write_bytes(b"then")
        os.sync()
        world.driver.create_snapshot(taken)
        (mounted / "file").write_bytes(b"now")
    clone = ceph_share(snapshot_instance_id=taken.instance_id)
    copied = world.driver.create_share_from_snapshot(clone, taken)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while copied.progress is Progress.UNDER_WAY and time.monotonic() < deadline:
        time.sleep(0.2)
        copied = world.driver.creation_of(clone)
    assert copied.progress is Progress.DONE
    assert world.driver.create_share_from_snapshot(clone, taken) == copied
    with world.mount(copied, "frank", world.allow(clone, user("frank"))) as mounted:
        assert (mounted / "file").read_bytes() == b"then"
    for instance in (clone, facts):
        if instance is facts:
            world.driver.delete_snapshot(taken)
            world.driver.delete_snapshot(taken)
        world.driver.delete_share(instance)


def test_rules_are_put_right_after_a_restart(world: World) -> None:
    facts = ceph_share()
    made = world.driver.create_share(facts)
    client = user("grace")
    key = world.allow(facts, client)
    assert world.driver.ensure_shares([facts])[facts.instance_id] == made.exports
    world.cluster.ceph("fs", "subvolume", "deauthorize", FILE_SYSTEM, facts.instance_id, "grace")
    outcome = world.driver.update_access(facts, AccessChange((client,)))[client.rule_id]
    assert outcome.error is None
    with world.mount(made, "grace", outcome.key or key) as mounted:
        (mounted / "file").write_bytes(b"again")
    world.driver.delete_share(facts)


def test_a_rule_of_a_kind_that_ceph_does_not_know_is_refused(world: World) -> None:
    facts = ceph_share()
    world.driver.create_share(facts)
    good, bad = user("heidi"), rule("10.0.0.1")
    outcomes = world.driver.update_access(facts, AccessChange((good, bad), added=(good, bad)))
    assert outcomes[good.rule_id].key
    assert outcomes[bad.rule_id].error
    world.driver.delete_share(facts)


def test_a_snapshot_of_a_share_that_is_not_there_fails(world: World) -> None:
    with pytest.raises(DriverFailed, match="could not create snapshot instance"):
        world.driver.create_snapshot(snapshot(ceph_share()))


def _eventually_writes(descriptor: int, offset: int) -> None:
    # A client learns of a larger quota with its next capability: within seconds.
    def written() -> bool:
        try:
            return os.pwrite(descriptor, b"x", offset) == 1
        except OSError as error:
            if error.errno != errno.EDQUOT:
                raise
            return False

    _until(written)


def _bytes_below(directory: Path) -> int:
    return int(os.getxattr(directory, "ceph.dir.rbytes"))


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.2)
