"""NFS shares of a btrfs back end as a kernel's own client sees them: rules, sizes, reverts and restarts."""

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from lab.share_guest import KernelClient, ShareGuest
from lab.share_mount import Contents, Pattern
from lab.share_network import ClientNetwork
from tests.functional.shares.btrfs_sites import RO, RW, allow, open_site, pseudo_path, share, snapshot_of
from tests.share_serving import ShareSite

from isthmus.shares.drivers.btrfs.driver import BtrfsDriver
from isthmus.shares.drivers.facts import AccessChange, AccessRule, AccessType, ShareFacts

MIB = 1 << 20
GRACE_SECONDS = 60
Clients = tuple[KernelClient, ...]


@pytest.fixture(scope="module")
def network() -> Iterator[ClientNetwork]:
    with ClientNetwork() as made:
        yield made


@pytest.fixture(scope="module")
def clients(network: ClientNetwork) -> Iterator[Clients]:
    with ShareGuest(network, clients=2) as made:
        yield made


@pytest.fixture(scope="module")
def site(network: ClientNetwork) -> Iterator[ShareSite]:
    with open_site(network) as made:
        made.driver().start()
        made.start("nfs")
        yield made


def refusal(call: object) -> int:
    with pytest.raises(OSError) as refused:  # noqa: PT011 - the number is what is asked for
        call()  # type: ignore[operator]
    return refused.value.errno or 0


def test_only_who_is_named_may_and_only_what_is_said(
    driver: BtrfsDriver, facts: ShareFacts, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    first, second = clients
    where = (network.server_address, pseudo_path(facts))
    port = site.site.ports.nfs
    assert refusal(lambda: first.mount_nfs(*where, port=port)) in (errno.EACCES, errno.ENOENT)
    assert allow(driver, facts, (first.address, RW), (second.address, RO)) == []
    writer, reader = first.mount_nfs(*where, port=port), second.mount_nfs(*where, port=port)
    writer.write("file", Pattern(1, MIB))
    assert reader.read("file") == Pattern(1, MIB).contents
    assert refusal(lambda: reader.write("other", Pattern(2, MIB))) == errno.EROFS
    # A network, and in it one who may less: the more exact rule counts, however they are ordered.
    allow(driver, facts, (str(network.network), RW), (first.address, RO))
    assert refusal(lambda: writer.write("other", Pattern(2, MIB))) == errno.EROFS
    reader.write("other", Pattern(2, MIB))
    # Taken away at once, from those who are mounted and have files open.
    with writer.open("file", os.O_RDONLY) as opened:
        allow(driver, facts, (second.address, RW))
        assert refusal(opened.read) in (errno.EACCES, errno.ESTALE)
    assert refusal(writer.names) in (errno.EACCES, errno.ESTALE)
    assert reader.names() == ["file", "other"]
    allow(driver, facts)
    assert refusal(reader.names) in (errno.EACCES, errno.ESTALE)
    # And given again without mounting anew.
    allow(driver, facts, (network.server_address, RO), (str(network.network), RW))
    assert writer.names() == ["file", "other"]
    for mounted in (writer, reader):
        mounted.unmount()


def wait_for_address(client: KernelClient, server: str, path: str, port: int) -> None:
    """Return when a client comes by its own IPv6 address: until the guest has seen that it is unique, it does not."""
    deadline = time.monotonic() + 30
    while True:
        try:
            client.mount_nfs(server, path, port=port).unmount()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.5)
        else:
            return


def test_clients_are_known_by_ipv6_too(
    driver: BtrfsDriver, facts: ShareFacts, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    where = (network.server_address6, pseudo_path(facts))
    allow(driver, facts, *((client.address6, RO) for client in clients))
    for client in clients:
        wait_for_address(client, *where, site.site.ports.nfs)
    allow(driver, facts, ("::/0", RO), (clients[0].address6, RW))
    mounts = [client.mount_nfs(*where, port=site.site.ports.nfs) for client in clients]
    mounts[0].write("six", Pattern(6, MIB))
    assert refusal(lambda: mounts[1].write("no", Pattern(6, MIB))) == errno.EROFS
    assert mounts[1].names() == ["six"]
    for mounted in mounts:
        mounted.unmount()


def test_a_share_holds_its_size_and_no_more(
    driver: BtrfsDriver, facts: ShareFacts, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    allow(driver, facts, (clients[0].address, RW))
    where, port = (network.server_address, pseudo_path(facts)), site.site.ports.nfs
    mounted = clients[0].mount_nfs(*where, port=port, version="4.1")
    # Filled from behind, as an emulated machine is slow; the last bytes are the client's.
    place = site.site.layout.of("shares") / "pool" / "pool" / "shares" / f"share-{facts.instance_id}"
    (place / "filler").write_bytes(bytes(1000 * MIB))
    assert refusal(lambda: mounted.write("over", Pattern(1, 40 * MIB))) == errno.EDQUOT
    driver.extend_share(facts, 2)
    mounted.write("over", Pattern(1, 40 * MIB))
    assert mounted.read("over") == Pattern(1, 40 * MIB).contents
    mounted.unmount()


def test_a_revert_is_seen_by_who_stays_mounted(
    driver: BtrfsDriver, facts: ShareFacts, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    allow(driver, facts, (clients[0].address, RW))
    mounted = clients[0].mount_nfs(network.server_address, pseudo_path(facts), port=site.site.ports.nfs)
    mounted.write("kept", Pattern(1, MIB))
    mounted.write("removed", Pattern(2, MIB))
    mounted.make_directory("full")
    mounted.write("full/inner", Pattern(3, MIB))
    snapshot = snapshot_of(facts)
    driver.create_snapshot(snapshot)
    mounted.write("kept", Pattern(4, 2 * MIB))
    mounted.remove("removed")
    mounted.rename("full", "moved")
    mounted.write("new", Pattern(5, MIB))
    with mounted.open("kept", os.O_RDONLY) as opened:
        driver.revert_share(facts, snapshot)
        assert opened.read() == Pattern(1, MIB).contents
    assert mounted.names() == ["full", "kept", "removed"]
    assert mounted.read("full/inner") == Pattern(3, MIB).contents
    assert mounted.read("removed") == Pattern(2, MIB).contents
    mounted.write("kept", Pattern(6, MIB))
    assert mounted.read("kept") == Pattern(6, MIB).contents
    mounted.unmount()
    driver.delete_snapshot(snapshot)


def test_mounts_and_open_files_outlive_the_server_and_the_manager(
    driver: BtrfsDriver, facts: ShareFacts, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    allow(driver, facts, (clients[0].address, RW))
    port, path = site.site.ports.nfs, pseudo_path(facts)
    mounted = clients[0].mount_nfs(network.server_address, path, port=port, options="hard")
    mounted.write("file", Pattern(1, MIB))
    with mounted.open("file", os.O_RDONLY) as opened:
        site.kill("nfs")
        site.start("nfs")
        assert opened.read() == Pattern(1, MIB).contents
    deadline = time.monotonic() + GRACE_SECONDS
    mounted.write("after", Pattern(2, MIB), limit=GRACE_SECONDS)
    assert time.monotonic() < deadline
    fresh = site.driver()
    fresh.start()
    assert fresh.ensure_shares([facts])[facts.instance_id][0].path.endswith(path)
    assert mounted.names() == ["after", "file"]
    mounted.unmount()


def test_a_server_that_started_before_the_pool_was_mounted_serves_nothing_of_the_machine(
    driver: BtrfsDriver, facts: ShareFacts, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    allow(driver, facts, (clients[0].address, RW))
    where, port = (network.server_address, pseudo_path(facts)), site.site.ports.nfs
    site.stop(("nfs",))
    driver.release()
    site.start("nfs")
    assert refusal(lambda: clients[0].mount_nfs(*where, port=port)) == errno.ENOENT
    fresh = site.driver()
    fresh.start()
    fresh.ensure_shares([facts])
    mounted = clients[0].mount_nfs(*where, port=port)
    mounted.write("file", Pattern(1, MIB))
    mounted.unmount()


def test_a_snapshot_is_mounted_for_reading(
    driver: BtrfsDriver, facts: ShareFacts, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    allow(driver, facts, (clients[0].address, RW))
    port = site.site.ports.nfs
    mounted = clients[0].mount_nfs(network.server_address, pseudo_path(facts), port=port)
    mounted.write("file", Pattern(1, MIB))
    snapshot = snapshot_of(facts)
    exports = driver.create_snapshot(snapshot).exports
    rule = AccessRule("rule", AccessType.IP, clients[0].address, RW)
    driver.update_snapshot_access(snapshot, AccessChange((rule,)))
    kept = clients[0].mount_nfs(network.server_address, exports[0].path.partition(":")[2], port=port)
    mounted.write("file", Pattern(2, MIB))
    assert kept.read("file") == Pattern(1, MIB).contents
    assert refusal(lambda: kept.write("file", Pattern(3, MIB))) == errno.EROFS
    kept.unmount()
    mounted.unmount()
    driver.delete_snapshot(snapshot)


def test_a_share_is_mounted_by_the_name_that_was_asked_for(
    driver: BtrfsDriver, clients: Clients, network: ClientNetwork, site: ShareSite
) -> None:
    named = share(mount_point_name="home_of_ann")
    assert driver.create_share(named).exports[0].path == "127.0.0.1:/home_of_ann"
    try:
        allow(driver, named, (clients[0].address, RW))
        mounted = clients[0].mount_nfs(network.server_address, "/home_of_ann", port=site.site.ports.nfs)
        mounted.write("file", Pattern(1, MIB))
        assert mounted.read("file") == Contents.of(Pattern(1, MIB).data)
        mounted.unmount()
        other = replace(share(), mount_point_name="Home_of_Ann")
        with pytest.raises(Exception, match="another share has the mount point name"):
            driver.create_share(other)
        driver.delete_share(other)
    finally:
        driver.delete_share(named)
