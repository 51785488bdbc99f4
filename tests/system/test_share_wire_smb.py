"""CIFS shares as their clients see them: users known to Samba, smbclient and a kernel."""

from collections.abc import Iterator
from typing import Any

import pytest
from lab.share_access import SmbUser, smb_user
from lab.share_clients import RefusedError
from lab.share_mount import MIB, Contents, Pattern
from lab.share_network import Client
from tests.share_wire import ShareWire


@pytest.fixture(scope="module")
def alice(wire: ShareWire) -> Iterator[SmbUser]:
    with smb_user(wire.access.plane, "alice") as user:
        yield user


@pytest.fixture(scope="module")
def bob(wire: ShareWire) -> Iterator[SmbUser]:
    with smb_user(wire.access.plane, "bob") as user:
        yield user


@pytest.fixture(scope="module")
def client(wire: ShareWire) -> Client:
    return wire.access.network.client()


@pytest.fixture
def share(wire: ShareWire) -> Iterator[dict[str, Any]]:
    made = wire.user.share(protocol="CIFS")
    yield made
    wire.user.delete(made)


def test_smbclient_and_a_kernel_share_files(
    wire: ShareWire,
    share: dict[str, Any],
    alice: SmbUser,
    client: Client,
) -> None:
    wire.user.allow(share, alice.name, kind="user")
    program = wire.access.smbclient(client, wire.user, share, alice)
    mounted = wire.access.mount_smb(wire.kernels[0], wire.user, share, alice)

    program.put("by smbclient", Pattern(1, 3 * MIB).data)
    mounted.write("by kernel", Pattern(2, 2 * MIB))

    assert mounted.read("by smbclient") == Pattern(1, 3 * MIB).contents
    assert Contents.of(program.get("by kernel")) == Pattern(2, 2 * MIB).contents
    assert program.names() == mounted.names() == ["by kernel", "by smbclient"]
    mounted.unmount()


def test_a_user_without_a_rule_is_denied(
    wire: ShareWire,
    share: dict[str, Any],
    alice: SmbUser,
    bob: SmbUser,
    client: Client,
) -> None:
    wire.user.allow(share, alice.name, kind="user")

    wire.access.smbclient(client, wire.user, share, alice).put("file", b"alice's")

    with pytest.raises(RefusedError, match="NT_STATUS_ACCESS_DENIED"):
        wire.access.smbclient(client, wire.user, share, bob).names()
    wrong_password = SmbUser(alice.name, "wrong")
    with pytest.raises(RefusedError, match="NT_STATUS_LOGON_FAILURE"):
        wire.access.smbclient(client, wire.user, share, wrong_password).names()


def test_an_ro_user_reads_and_cannot_write(
    wire: ShareWire,
    share: dict[str, Any],
    alice: SmbUser,
    bob: SmbUser,
    client: Client,
) -> None:
    wire.user.allow(share, alice.name, kind="user")
    wire.user.allow(share, bob.name, level="ro", kind="user")
    wire.access.smbclient(client, wire.user, share, alice).put("file", b"alice's")
    reader = wire.access.smbclient(client, wire.user, share, bob)

    assert reader.get("file") == b"alice's"
    with pytest.raises(RefusedError, match="NT_STATUS_ACCESS_DENIED"):
        reader.put("file", b"bob's")
    with pytest.raises(RefusedError, match="NT_STATUS"):
        reader.remove("file")
    assert reader.get("file") == b"alice's"


def test_a_removed_rule_bites_who_has_it_mounted(
    wire: ShareWire,
    share: dict[str, Any],
    alice: SmbUser,
) -> None:
    rule = wire.user.allow(share, alice.name, kind="user")
    mounted = wire.access.mount_smb(wire.kernels[0], wire.user, share, alice)
    mounted.write("file", Pattern(1, MIB))

    wire.user.deny(share, rule)

    with pytest.raises(OSError):  # noqa: PT011 - a kernel that tries to connect again says EACCES, ENOENT, EIO ...
        mounted.write("file", Pattern(2, MIB))
    mounted.unmount(force=True)


def test_a_user_that_samba_does_not_know_is_an_error_that_says_what_to_do(
    wire: ShareWire, share: dict[str, Any]
) -> None:
    argument = {"access_type": "user", "access_to": "nobody-knows-me", "access_level": "rw"}
    rule = wire.user.act(share, "allow_access", argument)["access"]

    shown = wire.user.settled(f"/share-access-rules/{rule['id']}", "access", field="state", wanted="error")

    assert shown["state"] == "error"
    wire.user.deny(share, rule)


def test_a_quota_stops_a_writer(wire: ShareWire, share: dict[str, Any], alice: SmbUser, client: Client) -> None:
    wire.user.allow(share, alice.name, kind="user")
    wire.access.smbclient(client, wire.user, share, alice).put_zeros("most of it", 960 * MIB)
    mounted = wire.access.mount_smb(wire.kernels[0], wire.user, share, alice)

    with pytest.raises(OSError, match=r"Disk quota exceeded|No space left"):
        mounted.write("file", Pattern(1, 100 * MIB))

    assert mounted.size("file") <= 64 * MIB
    mounted.remove("most of it")
    mounted.unmount()
