"""CIFS shares of a btrfs back end as smbclient sees them."""

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.share_clients import RefusedError, SmbClient
from lab.share_network import ClientNetwork
from tests.functional.shares.btrfs_sites import RO, RW, allow, open_site, share, snapshot_of
from tests.share_serving import ShareSite

from isthmus.shares.drivers.btrfs.driver import BtrfsDriver
from isthmus.shares.drivers.facts import AccessChange, AccessRule, AccessType, ShareFacts

PASSWORD = "secret-of-the-test"
Users = tuple[str, str]
DENIED = "NT_STATUS_ACCESS_DENIED"


@pytest.fixture(scope="module")
def network() -> Iterator[ClientNetwork]:
    with ClientNetwork() as made:
        yield made


@pytest.fixture(scope="module")
def site(network: ClientNetwork) -> Iterator[ShareSite]:
    with open_site(network) as made:
        made.driver().start()
        made.start("smb")
        yield made


@pytest.fixture(scope="module")
def users(site: ShareSite) -> Iterator[Users]:
    """Yield two users that this Samba knows, with accounts on this machine as Samba wants them."""
    configuration = site.options()["samba_config"]
    names = (f"ist{uuid.uuid4().hex[:8]}", f"ist{uuid.uuid4().hex[:8]}")
    with contextlib.ExitStack() as stack:
        for name in names:
            subprocess.run(["useradd", "-M", "-N", "-s", "/usr/sbin/nologin", name], check=True)
            stack.callback(subprocess.run, ["userdel", "--force", name], check=True, capture_output=True)
            subprocess.run(
                ["smbpasswd", "-c", configuration, "-s", "-a", name],
                input=f"{PASSWORD}\n{PASSWORD}\n",
                text=True,
                check=True,
                capture_output=True,
            )
        yield names


@pytest.fixture
def facts(driver: BtrfsDriver) -> Iterator[ShareFacts]:
    made = share("CIFS")
    driver.create_share(made)
    yield made
    driver.delete_share(made)


def client(network: ClientNetwork, site: ShareSite, name: str, user: str) -> SmbClient:
    return SmbClient(network.client(), network.server_address, name, user, PASSWORD, site.site.ports.smb)


def place(site: ShareSite, facts: ShareFacts) -> Path:
    return site.site.layout.of("shares") / "pool" / "pool" / "shares" / f"share-{facts.instance_id}"


def refusal(client: SmbClient) -> str:
    with pytest.raises(RefusedError) as refused:
        client.names()
    return refused.value.status


def test_users_may_what_their_rules_say(
    driver: BtrfsDriver, facts: ShareFacts, network: ClientNetwork, site: ShareSite, users: Users
) -> None:
    ann, bob = (client(network, site, f"share-{facts.instance_id}", user) for user in users)
    assert refusal(ann) == "NT_STATUS_BAD_NETWORK_NAME"
    assert allow(driver, facts, (users[0], RW), (users[1], RO), kind=AccessType.USER) == []
    ann.put("file", b"from ann")
    assert bob.get("file") == b"from ann"
    with pytest.raises(RefusedError) as refused:
        bob.put("other", b"from bob")
    assert refused.value.status == DENIED
    allow(driver, facts, (users[1], RW), kind=AccessType.USER)
    assert refusal(ann) == DENIED
    bob.put("file", b"from bob")
    assert bob.get("file") == b"from bob"
    allow(driver, facts)
    assert refusal(bob) == "NT_STATUS_BAD_NETWORK_NAME"


def test_a_connected_user_loses_the_share_with_the_rule(
    driver: BtrfsDriver, facts: ShareFacts, network: ClientNetwork, site: ShareSite, users: Users
) -> None:
    allow(driver, facts, (users[0], RW), kind=AccessType.USER)
    name, port = f"//{network.server_address}/share-{facts.instance_id}", str(site.site.ports.smb)
    command = ["smbclient", name, "-p", port, "-U", f"{users[0]}%{PASSWORD}", "-s", "/dev/null"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, bufsize=1) as session:
        assert session.stdin
        session.stdin.write("mkdir before\n")
        deadline = time.monotonic() + 30
        while not (place(site, facts) / "before").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        allow(driver, facts, (users[1], RW), kind=AccessType.USER)
        session.communicate("mkdir after\n", timeout=60)
    bob = client(network, site, f"share-{facts.instance_id}", users[1])
    assert bob.names() == ["before"]


def test_rules_that_samba_cannot_hold_are_outcomes(
    driver: BtrfsDriver, facts: ShareFacts, network: ClientNetwork, site: ShareSite, users: Users
) -> None:
    for wrong in ("no-such-user", "@root", "+root", "&root", 'a", "b', "%U", "a\nguest ok = yes", " ", ""):
        errors = allow(driver, facts, (wrong, RW), (users[0], RW), kind=AccessType.USER)
        assert len(errors) == 1
    assert "smbpasswd" in allow(driver, facts, ("no-such-user", RW), kind=AccessType.USER)[0]
    assert len(allow(driver, facts, ("192.0.2.1", RW), kind=AccessType.IP)) == 1


def test_shares_outlive_samba_and_hold_their_size(
    driver: BtrfsDriver, facts: ShareFacts, network: ClientNetwork, site: ShareSite, users: Users
) -> None:
    allow(driver, facts, (users[0], RW), kind=AccessType.USER)
    ann = client(network, site, f"share-{facts.instance_id}", users[0])
    ann.put("file", b"kept")
    site.stop(("smb",))
    site.start("smb")
    assert ann.get("file") == b"kept"
    (place(site, facts) / "filler").write_bytes(bytes(1020 << 20))
    with pytest.raises(RefusedError):
        ann.put("over", bytes(20 << 20))
    (place(site, facts) / "filler").unlink()


def test_a_link_leads_nowhere(
    driver: BtrfsDriver, facts: ShareFacts, network: ClientNetwork, site: ShareSite, users: Users
) -> None:
    allow(driver, facts, (users[0], RW), kind=AccessType.USER)
    (place(site, facts) / "out").symlink_to("/etc")
    (place(site, facts) / "passwords").symlink_to("/etc/passwd")
    ann = client(network, site, f"share-{facts.instance_id}", users[0])
    with pytest.raises(RefusedError):
        ann.get("passwords")
    with pytest.raises(RefusedError):
        ann.get("out/passwd")


def test_a_snapshot_is_for_reading(
    driver: BtrfsDriver, facts: ShareFacts, network: ClientNetwork, site: ShareSite, users: Users
) -> None:
    allow(driver, facts, (users[0], RW), kind=AccessType.USER)
    client(network, site, f"share-{facts.instance_id}", users[0]).put("file", b"kept")
    snapshot = snapshot_of(facts)
    driver.create_snapshot(snapshot)
    driver.update_snapshot_access(snapshot, AccessChange((AccessRule("rule", AccessType.USER, users[0], RW),)))
    kept = client(network, site, f"snapshot-{snapshot.instance_id}", users[0])
    assert kept.get("file") == b"kept"
    with pytest.raises(RefusedError) as refused:
        kept.put("file", b"changed")
    assert refused.value.status in (DENIED, "NT_STATUS_MEDIA_WRITE_PROTECTED")
    driver.delete_snapshot(snapshot)
    assert not os.path.lexists(site.site.layout.of("shares") / "pool" / "mounts" / f"snapshot-{snapshot.instance_id}")
