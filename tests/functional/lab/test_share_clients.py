"""The clients with which shares are tested, against servers that are known to be right."""

import fcntl
import os
from collections.abc import Iterator

import pytest
from lab.share_clients import LibnfsClient, RefusedError, SmbClient
from lab.share_guest import KernelClient, ShareGuest
from lab.share_mount import MIB, Contents, Pattern
from lab.share_network import Client, ClientNetwork
from lab.share_servers import LIMIT_MIB, PASSWORD, USER, ShareServers


@pytest.fixture(scope="module")
def network() -> Iterator[ClientNetwork]:
    with ClientNetwork() as made:
        yield made


@pytest.fixture(scope="module")
def servers(network: ClientNetwork) -> Iterator[ShareServers]:
    with ShareServers(network) as started:
        yield started


@pytest.fixture(scope="module")
def kernels(network: ClientNetwork) -> Iterator[tuple[KernelClient, ...]]:
    with ShareGuest(network, clients=2) as clients:
        yield clients


@pytest.fixture(scope="module")
def client(network: ClientNetwork) -> Client:
    return network.client()


@pytest.mark.parametrize("version", ["4.2", "4.1", "4.0", "3"])
def test_two_kernel_clients_share_a_file(
    servers: ShareServers, kernels: tuple[KernelClient, ...], version: str
) -> None:
    first, second = kernels
    servers.allow({first.address: "RW", second.address: "RW"})
    pattern = Pattern(int(version.replace(".", "")), 5 * MIB + 17)
    one = first.mount_nfs(servers.address, "/share", version=version)
    other = second.mount_nfs(servers.address, "/share", version=version)

    one.write(f"nfs {version}", pattern)

    assert other.read(f"nfs {version}") == pattern.contents
    assert f"nfs {version}" in other.names()
    assert other.size(f"nfs {version}") == pattern.length
    other.remove(f"nfs {version}")
    assert f"nfs {version}" not in one.names()
    one.unmount()
    other.unmount()


def test_a_server_tells_kernel_clients_apart(servers: ShareServers, kernels: tuple[KernelClient, ...]) -> None:
    first, second = kernels
    servers.allow({first.address: "RO"})

    with pytest.raises(OSError, match="Read-only file system"):
        first.mount_nfs(servers.address, "/share").write("refused", Pattern(1, 4096))
    with pytest.raises(FileNotFoundError):  # version 4 hides what one may not see
        second.mount_nfs(servers.address, "/share")


def test_an_open_file_feels_that_its_client_is_shut_out(
    servers: ShareServers, kernels: tuple[KernelClient, ...]
) -> None:
    first, _ = kernels
    servers.allow({first.address: "RW"})
    mounted = first.mount_nfs(servers.address, "/share")
    with mounted.open("held", os.O_RDWR | os.O_CREAT) as file:
        file.write(Pattern(1, 4096))
        file.sync()
        servers.allow({})
        with pytest.raises(PermissionError):
            file.write(Pattern(2, 4096))
        servers.allow({first.address: "RW"})
    mounted.remove("held")
    mounted.unmount()


def test_a_quota_reaches_the_writer(servers: ShareServers, kernels: tuple[KernelClient, ...]) -> None:
    first, _ = kernels
    servers.allow({first.address: "RW"})
    mounted = first.mount_nfs(servers.address, "/share")

    with pytest.raises(OSError, match="Disk quota exceeded"):
        mounted.write("too-much", Pattern(1, (LIMIT_MIB + 8) * MIB))

    assert mounted.size("too-much") < LIMIT_MIB * MIB
    mounted.remove("too-much")


def test_locks_are_between_clients(servers: ShareServers, kernels: tuple[KernelClient, ...]) -> None:
    servers.allow({client.address: "RW" for client in kernels})
    one, other = (client.mount_nfs(servers.address, "/share") for client in kernels)
    with one.open("locked", os.O_RDWR | os.O_CREAT) as mine, other.open("locked", os.O_RDWR) as theirs:
        mine.lock(fcntl.F_WRLCK)
        with pytest.raises(BlockingIOError):
            theirs.lock(fcntl.F_WRLCK)
        mine.lock(fcntl.F_UNLCK)
        theirs.lock(fcntl.F_WRLCK)


def test_a_kernel_client_mounts_smb(servers: ShareServers, kernels: tuple[KernelClient, ...], client: Client) -> None:
    pattern = Pattern(9, 3 * MIB)
    mounted = kernels[1].mount_cifs(servers.address, "share", user=USER, password=PASSWORD)

    mounted.write("by kernel", pattern)

    assert Contents.of(SmbClient(client, servers.address, "share", USER, PASSWORD).get("by kernel")) == pattern.contents
    mounted.unmount()


def test_a_kernel_client_is_refused_smb_and_does_not_tell_the_password(
    servers: ShareServers, kernels: tuple[KernelClient, ...]
) -> None:
    with pytest.raises(PermissionError) as refused:
        kernels[0].mount_cifs(servers.address, "share", user=USER, password="the-wrong-one")
    assert "the-wrong-one" not in str(refused.value)
    with pytest.raises(FileNotFoundError):
        kernels[0].mount_cifs(servers.address, "nosuch", user=USER, password=PASSWORD)


def test_smbclient_writes_and_reads(servers: ShareServers, client: Client) -> None:
    user = SmbClient(client, servers.address, "share", USER, PASSWORD)

    user.put("a name", b"contents")

    assert user.get("a name") == b"contents"
    assert "a name" in user.names()
    user.remove("a name")
    assert "a name" not in user.names()


def test_smbclient_is_refused(servers: ShareServers, client: Client) -> None:
    with pytest.raises(RefusedError) as wrong_password:
        SmbClient(client, servers.address, "share", USER, "wrong").names()
    with pytest.raises(RefusedError) as read_only:
        SmbClient(client, servers.address, "readonly", USER, PASSWORD).put("file", b"")

    assert wrong_password.value.status == "NT_STATUS_LOGON_FAILURE"
    assert read_only.value.status == "NT_STATUS_ACCESS_DENIED"


def test_libnfs_writes_by_version_3_and_reads_by_4(servers: ShareServers, client: Client) -> None:
    servers.allow({client.address: "RW"})

    LibnfsClient(client, servers.address, "/share", version=3, mount_port=20048).put("by-libnfs", b"contents")

    version_4 = LibnfsClient(client, servers.address, "/share")
    assert version_4.get("by-libnfs") == b"contents"
    assert "by-libnfs" in version_4.names()


def test_libnfs_is_refused(servers: ShareServers, client: Client) -> None:
    servers.allow({})
    with pytest.raises(RefusedError) as version_4:
        LibnfsClient(client, servers.address, "/share").names()
    with pytest.raises(RefusedError) as version_3:
        LibnfsClient(client, servers.address, "/share", version=3, mount_port=20048).names()

    assert version_4.value.status == "NFS4ERR_NOENT"
    assert version_3.value.status == "MNT3ERR_ACCES"
