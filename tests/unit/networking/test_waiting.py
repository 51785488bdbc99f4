"""Whom a slow cloud keeps waiting, and for how long: real HTTP, on a cloud that is as slow as a test says."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.slow_cloud import SlowCloud, secret_id, slow_cloud

from isthmus.control.errors import Unavailable
from isthmus.networking.attaching.attachments import HostAttachments
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Limits, Parts, make_parts
from isthmus.networking.binding.registry import Binders
from isthmus.networking.configuration import secret_references
from isthmus.networking.model import Key, Owner, Wish
from isthmus.networking.neutron.projects import Projects
from isthmus.networking.neutron.time_left import OutOfTime, within
from isthmus.networking.store.database import Database


@pytest.fixture
def cloud() -> Iterator[SlowCloud]:
    with slow_cloud() as made:
        yield made


def projects_of(cloud: SlowCloud, directory: Path, limit: float) -> Projects:
    conf = cloud.configuration(directory, "blue", "green", call_timeout=limit)
    return Projects(conf, secret_references(conf))


def seconds(began: float) -> float:
    return time.monotonic() - began


def refused(projects: Projects, project: str) -> float:
    """Return the seconds after which a project's client is refused."""
    began = time.monotonic()
    with pytest.raises(Unavailable):
        projects.neutron(project)
    return seconds(began)


def test_a_secret_that_is_not_answered_keeps_no_other_project_waiting(cloud: SlowCloud, tmp_path: Path) -> None:
    projects = projects_of(cloud, tmp_path, 4.0)
    assert projects.neutron("blue") is projects.neutron("blue")
    cloud.delays[secret_id(1)] = 60.0
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(refused, projects, "green")
        while not any(secret_id(1) in each for each in cloud.asked):
            time.sleep(0.01)
        began = time.monotonic()
        projects.neutron("blue").list("networks")
        assert seconds(began) < 2.0
        assert waiting.result() < 8.0


def test_callers_of_a_silent_project_wait_side_by_side_and_the_next_are_told_at_once(
    cloud: SlowCloud, tmp_path: Path
) -> None:
    projects = projects_of(cloud, tmp_path, 2.0)
    cloud.delays[secret_id(0)] = 60.0
    with ThreadPoolExecutor(6) as threads:
        waited = list(threads.map(lambda _: refused(projects, "blue"), range(6)))
    assert max(waited) < 5.0
    assert refused(projects, "blue") < 0.5


def test_a_silent_keystone_is_waited_for_once(cloud: SlowCloud, tmp_path: Path) -> None:
    projects = projects_of(cloud, tmp_path, 2.0)
    cloud.delays["/auth/tokens"] = 60.0
    with ThreadPoolExecutor(6) as threads:
        waited = list(threads.map(lambda number: refused(projects, ("blue", "green")[number % 2]), range(6)))
    assert max(waited) < 6.0


def test_a_credential_that_can_be_read_again_is(
    cloud: SlowCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isthmus.networking.neutron.projects.REFUSED_SECONDS", 0.2)
    projects = projects_of(cloud, tmp_path, 1.0)
    cloud.delays[secret_id(0)] = 60.0
    refused(projects, "blue")
    cloud.delays.clear()
    time.sleep(0.3)
    assert projects.neutron("blue").list("networks")


def attachments_of(cloud: SlowCloud, directory: Path) -> tuple[HostAttachments, Parts]:
    conf = cloud.configuration(directory, "blue", call_timeout=10, binder="bridge")
    projects = Projects(conf, secret_references(conf))
    limits = Limits(attach=25.0, network_fresh=10.0, warm_ports=0, warm_seconds=900.0)
    parts = make_parts("here", limits, projects, Binders(conf), Database(directory / "agent.sqlite"))
    return HostAttachments(parts, Networks(parts)), parts


def test_an_attachment_ends_by_its_deadline_however_slowly_each_call_is_answered(
    cloud: SlowCloud, tmp_path: Path
) -> None:
    attachments, parts = attachments_of(cloud, tmp_path)
    parts.neutron("blue").list("networks")
    cloud.delays["/v2.0/"] = 0.8
    wish = Wish(Key(Owner.HOST, "tap/one"), "blue", security_groups=("group",))
    began = time.monotonic()

    with pytest.raises(Unavailable, match="time"):
        attachments.reserve(wish, began + 2.0)

    assert seconds(began) < 2.5
    # What was too late is no failure of Neutron's: it is asked as before, and the same wish succeeds with more time.
    assert parts.projects.refusing() is None
    assert attachments.reserve(wish, time.monotonic() + 20.0).port is not None


def test_the_earlier_of_two_deadlines_holds_and_ends_with_its_block(cloud: SlowCloud, tmp_path: Path) -> None:
    neutron = projects_of(cloud, tmp_path, 10.0).neutron("blue")
    with within(time.monotonic() - 1), within(time.monotonic() + 60), pytest.raises(OutOfTime, match="list networks"):
        neutron.list("networks")
    assert neutron.list("networks")
    found: list[int] = []
    with within(time.monotonic() - 1):
        other = threading.Thread(target=lambda: found.append(len(neutron.list("networks"))))
        other.start()
        other.join()
    assert found == [1]  # another thread's calls have no deadline
