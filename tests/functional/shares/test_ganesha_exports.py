"""What is told to NFS-Ganesha, and what it makes of it."""

import ipaddress
import subprocess
from collections.abc import Iterator

import pytest
from tests.functional.shares.btrfs_sites import RO, RW, allow, open_site, pseudo_path, share
from tests.share_serving import ShareSite

from isthmus.control.errors import StepFailed, Unavailable
from isthmus.shares.drivers.btrfs.driver import BtrfsDriver
from isthmus.shares.drivers.contract import BackendUnavailable
from isthmus.shares.drivers.facts import ShareFacts
from isthmus.shares.protocols.nfs_ganesha import Ganesha, NfsExport


@pytest.fixture(scope="module")
def site() -> Iterator[ShareSite]:
    with open_site() as made:
        made.driver().start()
        made.start("nfs")
        yield made


@pytest.fixture
def driver(site: ShareSite) -> BtrfsDriver:
    return site.driver(max_over_subscription_ratio="1000")


def lists(site: ShareSite, facts: ShareFacts) -> bool:
    url = f"nfs://127.0.0.1{pseudo_path(facts)}?version=4&nfsport={site.site.ports.nfs}"
    return subprocess.run(["nfs-ls", url], check=False, capture_output=True).returncode == 0


def server(site: ShareSite) -> Ganesha:
    return Ganesha(site.options()["ganesha_bus"], site.site.layout.of("shares") / "exports")


@pytest.mark.parametrize(
    ("network", "is_let_in"),
    [
        ("0.0.0.0/0", True),
        ("127.0.0.0/8", True),
        ("127.0.0.1", True),
        ("127.0.0.1/32", True),
        ("127.0.0.7/8", True),
        ("127.0.0.2", False),
        ("10.0.0.0/8", False),
        ("128.0.0.0/1", False),
        ("::/0", False),
    ],
)
def test_a_network_lets_in_its_own_hosts(
    driver: BtrfsDriver, facts: ShareFacts, site: ShareSite, network: str, is_let_in: bool
) -> None:
    assert not lists(site, facts)
    assert allow(driver, facts, (network, RO)) == []
    assert lists(site, facts) == is_let_in


def test_a_network_of_every_size_is_understood(driver: BtrfsDriver, facts: ShareFacts) -> None:
    for address in ("203.0.113.77", "0.0.0.0", "255.255.255.255"):
        networks = {str(ipaddress.ip_network(f"{address}/{size}", strict=False)) for size in range(33)}
        assert allow(driver, facts, *((network, RO) for network in sorted(networks))) == []
    for address in ("2001:db8:1:2:3:4:5:6", "::", "::1", "fe80::1"):
        networks = {str(ipaddress.ip_network(f"{address}/{size}", strict=False)) for size in range(129)}
        assert allow(driver, facts, *((network, RO) for network in sorted(networks))) == []


@pytest.mark.parametrize("wrong", ["*", "host.example", "10.0.0.0/33", "10.0.0.1; Access_Type = RW", "@group", "", "1"])
def test_what_is_no_network_is_an_outcome(driver: BtrfsDriver, facts: ShareFacts, site: ShareSite, wrong: str) -> None:
    assert len(allow(driver, facts, (wrong, RW), ("127.0.0.1", RW))) == 1
    assert lists(site, facts)


def test_what_the_server_refuses_is_not_kept(site: ShareSite) -> None:
    exports = site.site.layout.of("shares") / "exports"
    before = sorted(path.name for path in exports.glob("*.conf"))
    refused = NfsExport("refused", site.site.layout.of("shares") / "no-such-directory", "refused", ())
    with pytest.raises(StepFailed, match="refused"):
        server(site).publish(refused)
    assert sorted(path.name for path in exports.glob("*.conf")) == before


def test_an_export_keeps_its_id_and_a_new_one_gets_another(
    driver: BtrfsDriver, facts: ShareFacts, site: ShareSite
) -> None:
    exports = site.site.layout.of("shares") / "exports"

    def ids() -> set[str]:
        return {path.name.split(".")[1] for path in exports.glob("share-*.conf")}

    allow(driver, facts, ("127.0.0.1", RW))
    first = ids()
    allow(driver, facts)
    allow(driver, facts, ("127.0.0.2", RW))
    assert ids() == first
    driver.delete_share(facts)
    other = share()
    driver.create_share(other)
    allow(driver, other, ("127.0.0.1", RW))
    assert ids()
    assert not ids() & first
    driver.delete_share(other)


def test_rules_wait_for_a_server_that_is_away_and_hold_when_it_comes(
    driver: BtrfsDriver, facts: ShareFacts, site: ShareSite
) -> None:
    allow(driver, facts, ("127.0.0.1", RW))
    site.kill("nfs")
    try:
        with pytest.raises(BackendUnavailable) as refused:
            allow(driver, facts, ("127.0.0.2", RW))
        assert refused.value.retryable
        report = driver.report()
        assert not report.answers
        assert report.pools[0].free_gib
        with pytest.raises(Unavailable):
            server(site).check()
    finally:
        site.start("nfs")
    assert not lists(site, facts)
    assert driver.report().trouble == "Samba ({}) does not answer: start smbd".format(site.options()["samba_config"])
    allow(driver, facts, ("127.0.0.1", RW))
    assert lists(site, facts)


def test_hundreds_of_shares_are_served_again_in_seconds(driver: BtrfsDriver, site: ShareSite) -> None:
    many = [share() for _ in range(300)]
    for facts in many:
        driver.create_share(facts)
        allow(driver, facts, ("127.0.0.1", RW))
    site.kill("nfs")
    driver.release()
    fresh = site.driver()
    fresh.start()
    site.start("nfs")
    assert len(fresh.ensure_shares(many)) == len(many)
    assert lists(site, many[0])
    assert lists(site, many[-1])
    for facts in many:
        fresh.delete_share(facts)
    assert not lists(site, many[0])
