"""Two sites that cannot connect to each other, and a hub between them that stores their disks or passes them on."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from lab.network_host import wait_for
from lab.rest_user import RestUser
from lab.two_sites import HUB, ByHub, Capture, SiteHost
from tests.system.test_two_sites import MIB, Ends, content, result, said, sites_of

from isthmus.control.engine import EngineAddress

STORES = f"channel_listen = {HUB}:7670-7671\nbandwidth_limit = {16 * MIB}"
STAGED = f"staged = west:hub\nbandwidth_limit = {16 * MIB}"
RELAYED = f"relays = west:hub\nbandwidth_limit = {8 * MIB}"


@dataclass(frozen=True)
class HubEnds(Ends):
    """Both sites and the hub."""

    sites: ByHub
    stores: Path

    def shown(self, path: str) -> str:
        """Return what an execution's copy has told."""
        tasks = self.user.made("GET", path)["execution"]["tasks"]
        copies = [task for task in tasks if task["task_type"] == "REPLICATE_DISKS"]
        return "\n".join(event["message"] for task in copies for event in task["events"])

    def progress(self, path: str, subject: str) -> int:
        """Return how many bytes are settled of what is so named."""
        tasks = self.user.made("GET", path)["execution"]["tasks"]
        updates = [each for task in tasks for each in task["progress_updates"] if subject in each["message"]]
        return max((int(each["current_step"] or 0) for each in updates), default=0)

    def stored(self) -> list[Path]:
        """Return what the hub stores."""
        return list((self.stores / "disks").glob("*"))


@pytest.fixture(scope="module")
def ends(control_plane: ControlPlane) -> Iterator[HubEnds]:
    user = RestUser.of(control_plane.demo_environment)
    with sites_of(control_plane, ByHub) as (sites, place, east, west):
        sites.hub.start(STORES)
        sites.west.start("")
        sites.east.start(STAGED)
        engine = EngineAddress(control_plane.temporal_address, "default")
        yield HubEnds(sites, user, engine, east, west, place / "staging-hub")


def in_the_midst(ends: HubEnds, path: str, subject: str) -> int:
    try:
        wait_for(f"a part of {subject}", lambda: ends.progress(path, subject) > 0, 120)
    except TimeoutError as error:
        raise TimeoutError(f"{error}; the execution: {ends.user.made('GET', path)}") from error
    return ends.progress(path, subject)


def completed(ends: HubEnds, machine: str, path: str) -> dict[str, Any]:
    shown = ends.user.ended(path, "execution", 300)
    assert shown["status"] == "COMPLETED", shown
    assert ends.replica() == ends.disk(machine).read_bytes()
    assert ends.stored() == []
    assert ends.sites.hub.listening() == set()
    return shown


@pytest.mark.timeout(400)
def test_disks_are_stored_while_one_site_is_away_and_go_on_while_the_other_is(ends: HubEnds) -> None:
    """The west's link is cut during the first leg, the east's during the second: nothing else leads anywhere."""
    east, west = ends.sites.east, ends.sites.west
    assert not reaches(east, west.address)
    assert reaches(east, HUB)
    ends.disk("stored").write_bytes(content(24 * MIB) + bytes(8 * MIB))
    with Capture(east) as one, Capture(west) as two:
        west.link("down")
        transfer = ends.transfer("stored")
        path = ends.execute(transfer)
        wait_for("the end of the first leg", lambda: "verified where it is staged" in ends.shown(path), 200)
        assert len(ends.stored()) == 1
        east.link("down")
        west.link("up")
        shown = completed(ends, "stored", path)
        east.link("up")
    assert "leg 1 of 2: the disks go to worker hub at 10.79.9.9:7670" in said(shown)
    assert "leg 2 of 2: worker hub sends the disks that it has staged to region west" in said(shown)
    # Each site's own link may tell of its own address by itself; what counts is whom it speaks with.
    assert {each for pair in one.pairs for each in pair} == {east.address, HUB}
    assert {each for pair in two.pairs for each in pair} == {west.address, HUB}
    assert west.listening() == east.listening() == set()
    # A thirtieth of the content is the marker, which zstd makes small.
    assert len(one.bytes) > 22 * MIB
    assert len(two.bytes) > 22 * MIB
    ends.delete(transfer)


@pytest.mark.timeout(400)
def test_a_relay_that_is_killed_in_the_midst_costs_no_more_than_its_restart(ends: HubEnds) -> None:
    """The relay that streams: what both ends have settled is not sent again."""
    ends.sites.east.stop()
    ends.sites.east.start(RELAYED)
    ends.disk("relayed").write_bytes(content(80 * MIB))
    transfer = ends.transfer("relayed")
    path = ends.execute(transfer)
    done = in_the_midst(ends, path, "disk ")
    ends.sites.hub.kill()
    ends.sites.hub.start(STORES)
    shown = completed(ends, "relayed", path)
    assert "which relays them to region west" in said(shown)
    assert "attempt 1 failed" in said(shown)
    copied = result(shown)["disks"][0]
    assert copied["bytes_resumed"] >= done
    assert copied["bytes_resumed"] + copied["bytes_read"] == 80 * MIB
    ends.delete(transfer)
    ends.sites.east.stop()
    ends.sites.east.start(STAGED)


def reaches(site: SiteHost, address: str) -> bool:
    """Whether an address answers."""
    return site.host.succeeds("ping", "-c", "1", "-W", "1", address)
