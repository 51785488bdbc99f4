"""Shares as their clients see them: made through the API, mounted by real kernels at distinct addresses."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from lab.share_mount import MIB, MountedShare, Pattern
from lab.share_relay import seen_as
from lab.share_user import ShareUser
from tests.share_wire import ShareWire

GIB = 1 << 30


@pytest.fixture
def share(wire: ShareWire) -> Iterator[dict[str, Any]]:
    made = wire.user.share()
    yield made
    wire.user.delete(made)


@pytest.fixture
def mounts(wire: ShareWire) -> Iterator[list[MountedShare]]:
    """Return a list: what is put into it is unmounted before the share goes."""
    made: list[MountedShare] = []
    yield made
    for each in made:
        each.unmount(force=True)


def test_two_clients_write_and_read_the_same_share(
    wire: ShareWire,
    share: dict[str, Any],
    mounts: list[MountedShare],
) -> None:
    for client in wire.kernels:
        wire.user.allow(share, seen_as(client.address))
        mounts.append(wire.access.mount(client, wire.user, share))
    one, other = mounts

    one.write("one's", Pattern(1, 20 * MIB))
    other.write("other's", Pattern(2, 3 * MIB + 5))

    assert other.read("one's") == Pattern(1, 20 * MIB).contents
    assert one.read("other's") == Pattern(2, 3 * MIB + 5).contents
    assert one.names() == other.names() == ["one's", "other's"]


def test_a_client_without_a_rule_is_refused(wire: ShareWire, share: dict[str, Any]) -> None:
    allowed, refused = wire.kernels

    with pytest.raises((FileNotFoundError, PermissionError)):
        wire.access.mount(allowed, wire.user, share)
    wire.user.allow(share, seen_as(allowed.address))
    wire.access.mount(allowed, wire.user, share).unmount()
    with pytest.raises((FileNotFoundError, PermissionError)):
        wire.access.mount(refused, wire.user, share)


def test_a_rule_for_a_network_lets_all_of_it_in(wire: ShareWire, share: dict[str, Any]) -> None:
    network = seen_as(wire.access.network.server_address).rpartition(".")[0] + ".0/24"
    rule = wire.user.allow(share, network)

    for client in wire.kernels:
        wire.access.mount(client, wire.user, share).unmount()
    wire.user.deny(share, rule)
    for client in wire.kernels:
        with pytest.raises((FileNotFoundError, PermissionError)):
            wire.access.mount(client, wire.user, share)


def test_a_client_with_an_ro_rule_reads_and_cannot_write(
    wire: ShareWire,
    share: dict[str, Any],
    mounts: list[MountedShare],
) -> None:
    writer, reader = wire.kernels
    wire.user.allow(share, seen_as(writer.address))
    wire.user.allow(share, seen_as(reader.address), level="ro")
    mounts += [wire.access.mount(client, wire.user, share) for client in (writer, reader)]
    mounts[0].write("file", Pattern(1, MIB))

    assert mounts[1].read("file") == Pattern(1, MIB).contents
    with pytest.raises(OSError, match="Read-only file system"):
        mounts[1].write("file", Pattern(2, MIB))
    with pytest.raises(OSError, match="Read-only file system"):
        mounts[1].remove("file")
    with pytest.raises(OSError, match="Read-only file system"):
        mounts[1].make_directory("directory")
    assert mounts[0].read("file") == Pattern(1, MIB).contents


def test_a_removed_rule_bites_at_once(
    wire: ShareWire,
    share: dict[str, Any],
    mounts: list[MountedShare],
) -> None:
    shut_out, other = wire.kernels
    rule = wire.user.allow(share, seen_as(shut_out.address))
    wire.user.allow(share, seen_as(other.address))
    mounts += [wire.access.mount(client, wire.user, share) for client in wire.kernels]
    with mounts[0].open("held", os.O_RDWR | os.O_CREAT) as held:
        held.write_through(Pattern(1, MIB))

        wire.user.deny(share, rule)

        with pytest.raises(OSError, match=r"Permission denied|Stale"):
            held.write_through(Pattern(2, MIB))
        with pytest.raises(OSError, match=r"Permission denied|Stale|No such file"):
            mounts[0].names()
    assert mounts[1].read("held") == Pattern(1, MIB).contents


def test_a_quota_stops_a_writer_and_extending_lets_it_go_on(
    wire: ShareWire,
    share: dict[str, Any],
    mounts: list[MountedShare],
) -> None:
    writer = wire.kernels[0]
    wire.user.allow(share, seen_as(writer.address))
    mounts.append(wire.access.mount(writer, wire.user, share))
    with mounts[0].open("file", os.O_WRONLY | os.O_CREAT) as file:
        file.allocate(960 * MIB)
        with pytest.raises(OSError, match="Disk quota exceeded"):
            file.write_through(Pattern(1, 100 * MIB), offset=960 * MIB)
    assert mounts[0].size("file") <= GIB
    wire.user.resized(share, "extend", 2)

    with mounts[0].open("file", os.O_WRONLY | os.O_CREAT) as file:
        file.write_through(Pattern(1, 100 * MIB), offset=960 * MIB)

    assert mounts[0].size("file") == 1060 * MIB


def test_a_share_is_not_shrunk_below_what_it_holds(
    wire: ShareWire,
    mounts: list[MountedShare],
) -> None:
    share = wire.user.share(2)
    wire.user.allow(share, seen_as(wire.kernels[0].address))
    mounts.append(wire.access.mount(wire.kernels[0], wire.user, share))
    with mounts[0].open("file", os.O_WRONLY | os.O_CREAT) as file:
        file.allocate(1200 * MIB)
        file.sync()

    assert wire.user.resized(share, "shrink", 1)["size"] == 2
    assert mounts[0].size("file") == 1200 * MIB
    mounts[0].remove("file")
    assert _shrunk(wire.user, share, 1)["size"] == 1
    mounts.pop().unmount()
    wire.user.delete(share)


def _shrunk(user: ShareUser, share: dict[str, Any], size: int) -> dict[str, Any]:
    """Shrink, again and again for some seconds: btrfs takes time to give the space of removed files back."""
    deadline = time.monotonic() + 60
    while True:
        shown = user.resized(share, "shrink", size)
        if shown["size"] == size or time.monotonic() > deadline:
            return shown
        time.sleep(1)


def test_a_snapshot_keeps_the_old_bytes_for_a_share_made_from_it_and_for_reverting(
    wire: ShareWire,
    share: dict[str, Any],
    mounts: list[MountedShare],
) -> None:
    client = wire.kernels[0]
    wire.user.allow(share, seen_as(client.address))
    mounts.append(wire.access.mount(client, wire.user, share))
    mounts[0].write("kept", Pattern(1, 10 * MIB))
    mounts[0].write("removed later", Pattern(2, MIB))
    snapshot = wire.user.snapshot(share)
    mounts[0].write("kept", Pattern(3, 5 * MIB))
    mounts[0].write("made later", Pattern(4, MIB))
    mounts[0].remove("removed later")

    made = wire.user.share(snapshot_id=snapshot["id"])
    wire.user.allow(made, seen_as(client.address))
    copy = wire.access.mount(client, wire.user, made)
    assert copy.read("kept") == Pattern(1, 10 * MIB).contents
    assert copy.names() == ["kept", "removed later"]
    copy.write("kept", Pattern(5, MIB))
    assert mounts[0].read("kept") == Pattern(3, 5 * MIB).contents
    copy.unmount()

    wire.user.act(share, "revert", {"snapshot_id": snapshot["id"]})
    wire.user.settled(f"/shares/{share['id']}", "share")
    assert mounts[0].read("kept") == Pattern(1, 10 * MIB).contents
    assert mounts[0].names() == ["kept", "removed later"]
    mounts[0].write("after", Pattern(6, MIB))
    wire.user.delete(made)
    wire.user.delete_snapshot(snapshot)
    assert mounts[0].read("after") == Pattern(6, MIB).contents


def test_a_snapshot_is_mounted_and_only_read(
    wire: ShareWire,
    share: dict[str, Any],
    mounts: list[MountedShare],
) -> None:
    client = wire.kernels[0]
    wire.user.allow(share, seen_as(client.address))
    mounts.append(wire.access.mount(client, wire.user, share))
    mounts[0].write("file", Pattern(1, MIB))
    snapshot = wire.user.snapshot(share)
    mounts[0].write("file", Pattern(2, MIB))
    path = f"/snapshots/{snapshot['id']}"
    rule = {"allow_access": {"access_type": "ip", "access_to": seen_as(client.address)}}
    wire.user.made("POST", f"{path}/action", rule)
    _wait_for_active(wire.user, f"{path}/access-list")
    export = wire.user.made("GET", f"{path}/export-locations")["share_snapshot_export_locations"][0]["path"]

    mounted = wire.access.mount_path(client, export.partition(":")[2])

    assert mounted.read("file") == Pattern(1, MIB).contents
    with pytest.raises(OSError, match="Read-only file system"):
        mounted.write("file", Pattern(3, MIB))
    mounted.unmount()
    wire.user.delete_snapshot(snapshot)


def _wait_for_active(user: ShareUser, path: str) -> None:
    deadline = time.monotonic() + 60
    while any(rule["state"] != "active" for rule in user.made("GET", path)["snapshot_access_list"]):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_deleted_share_is_gone_for_its_clients(wire: ShareWire) -> None:
    share = wire.user.share()
    wire.user.allow(share, seen_as(wire.kernels[0].address))
    mounted = wire.access.mount(wire.kernels[0], wire.user, share)
    mounted.write("file", Pattern(1, MIB))

    wire.user.delete(share)

    with pytest.raises(OSError, match=r"Stale|No such file|Permission denied"):
        mounted.names()
    mounted.unmount(force=True)
