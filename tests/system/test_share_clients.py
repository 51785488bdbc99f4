"""OpenStack's own clients, as they come, against the shares API: python-manilaclient, `openstack share` and the SDK."""

import json
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from lab.control_plane import ControlPlane

OPENSTACK = str(Path(sys.executable).parent / "openstack")
SECONDS = 60


def session_of(environment: dict[str, str]) -> Session:
    return Session(
        v3.Password(
            auth_url=environment["OS_AUTH_URL"],
            username=environment["OS_USERNAME"],
            password=environment["OS_PASSWORD"],
            project_name=environment["OS_PROJECT_NAME"],
            user_domain_name="Default",
            project_domain_name="Default",
        )
    )


def awaited(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.fixture(scope="module")
def manila(control_plane: ControlPlane) -> Any:
    return manila_of(control_plane.demo_environment)


@pytest.fixture(scope="module")
def manila_admin(control_plane: ControlPlane) -> Any:
    return manila_of(control_plane.admin_environment)


def manila_of(environment: dict[str, str]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own and its libraries' imports
        import manilaclient
        from manilaclient import client

        return client.Client(
            manilaclient.API_MAX_VERSION, session=session_of(environment), service_type="shared-file-system"
        )


def test_manilaclient_takes_a_share_through_its_life(manila: Any) -> None:
    share = manila.shares.create("NFS", 1, name="by manilaclient", metadata={"made": "here"})
    awaited(lambda: manila.shares.get(share).status == "available")
    assert share.id in {each.id for each in manila.shares.list()}
    assert manila.shares.list(search_opts={"name": "by manilaclient", "metadata": {"made": "here"}})[0].id == share.id
    manila.shares.update(share, display_description="changed")
    assert manila.shares.get(share).description == "changed"
    assert manila.share_export_locations.list(share)[0].path

    rule = manila.shares.allow(share, "ip", "198.51.100.0/24", "ro")
    awaited(lambda: bool(manila.share_access_rules.get(rule["id"]).state == "active"))
    assert [each.access_to for each in manila.share_access_rules.access_list(share)] == ["198.51.100.0/24"]
    manila.shares.deny(share, rule["id"])
    awaited(lambda: not manila.share_access_rules.access_list(share))

    manila.shares.extend(share, 2)
    awaited(lambda: manila.shares.get(share).status == "available")
    manila.shares.shrink(share, 1)
    awaited(lambda: manila.shares.get(share).status == "available")
    assert manila.shares.get(share).size == 1

    snapshot = manila.share_snapshots.create(share, name="kept")
    awaited(lambda: manila.share_snapshots.get(snapshot).status == "available")
    copy = manila.shares.create("NFS", 1, snapshot_id=snapshot.id)
    awaited(lambda: manila.shares.get(copy).status == "available")
    manila.shares.revert_to_snapshot(share, snapshot)
    awaited(lambda: manila.shares.get(share).status == "available")

    manila.shares.delete(copy)
    manila.share_snapshots.delete(snapshot)
    awaited(lambda: snapshot.id not in {each.id for each in manila.share_snapshots.list()})
    manila.shares.delete(share)
    awaited(lambda: not {share.id, copy.id} & {each.id for each in manila.shares.list()})


def test_manilaclient_understands_errors(manila: Any) -> None:
    from manilaclient import exceptions

    with pytest.raises(exceptions.NotFound, match="could not be found"):
        manila.shares.get(str(uuid.uuid4()))
    with pytest.raises(exceptions.BadRequest, match="protocol"):
        manila.shares.create("FTP", 1)
    with pytest.raises(exceptions.RequestEntityTooLarge, match=r"[Qq]uota"):
        manila.shares.create("NFS", 100_000)
    with pytest.raises(exceptions.Forbidden):
        manila.services.list()


def test_manilaclient_administers_types_and_quotas(manila: Any, manila_admin: Any) -> None:
    name = f"type-{uuid.uuid4().hex[:8]}"
    made = manila_admin.share_types.create(name, spec_driver_handles_share_servers=False, spec_snapshot_support=True)
    assert name in {each.name for each in manila.share_types.list()}
    made.set_keys({"color": "blue"})
    assert manila_admin.share_types.get(made).get_keys()["color"] == "blue"
    manila_admin.share_types.delete(made)
    assert name not in {each.name for each in manila.share_types.list()}

    project = uuid.uuid4().hex
    assert manila_admin.quotas.update(project, shares=7).shares == 7
    assert manila_admin.quotas.get(project).shares == 7
    manila_admin.quotas.delete(project)
    assert manila_admin.quotas.get(project).shares == manila_admin.quotas.defaults(project).shares


def test_manilaclient_sees_the_service(manila_admin: Any) -> None:
    assert {service.state for service in manila_admin.services.list()} == {"up"}
    assert manila_admin.availability_zones.list()
    assert manila_admin.pools.list(detailed=True)


class OpenStack:
    """The `openstack` command of one user."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**environment, "PYTHONWARNINGS": "ignore"}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [OPENSTACK, *words], env=self._environment, capture_output=True, text=True, timeout=300, check=False
        )

    def share(self, *words: str) -> Any:
        """Return the JSON of a command that must succeed."""
        shown = self.run("share", *words, "-f", "json")
        assert shown.returncode == 0, shown.stderr
        return json.loads(shown.stdout)

    def quietly(self, *words: str) -> None:
        done = self.run("share", *words)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def openstack(control_plane: ControlPlane) -> OpenStack:
    return OpenStack(control_plane.demo_environment)


def test_the_openstack_command_takes_a_share_through_its_life(openstack: OpenStack) -> None:
    name = f"cli-{uuid.uuid4().hex[:8]}"

    made = openstack.share("create", "NFS", "1", "--name", name, "--wait")
    assert made["status"] == "available"
    assert made["id"] in {each["ID"] for each in openstack.share("list")}
    assert openstack.share("show", name)["size"] == 1
    assert openstack.share("export", "location", "list", name)[0]["Path"]
    rule = openstack.share("access", "create", name, "ip", "198.51.100.4", "--wait")
    assert rule["state"] == "active"
    openstack.quietly("access", "delete", name, rule["id"], "--wait")
    openstack.quietly("resize", name, "2", "--wait")
    assert openstack.share("show", name)["size"] == 2
    snapshot = openstack.share("snapshot", "create", name, "--name", f"{name}-kept", "--wait")
    assert snapshot["status"] == "available"
    openstack.quietly("revert", snapshot["id"], "--wait")
    openstack.quietly("snapshot", "delete", snapshot["id"], "--wait")
    openstack.quietly("delete", name, "--wait")
    assert name not in {each["Name"] for each in openstack.share("list")}


def test_the_openstack_command_shows_errors(openstack: OpenStack) -> None:
    unknown = openstack.run("share", "show", "no-such-share")
    too_large = openstack.run("share", "create", "NFS", "100000")

    assert unknown.returncode == 1
    assert "no-such-share" in unknown.stderr
    assert too_large.returncode == 1
    assert "quota" in too_large.stderr.lower()


@pytest.fixture(scope="module")
def sdk(control_plane: ControlPlane) -> Iterator[Any]:
    import openstack

    environment = control_plane.demo_environment
    # Without a version of one's choice the SDK asks for Manila's oldest, which has none of its own actions.
    version = {"shared_file_system_default_microversion": "2.90"}
    with closing(openstack.connection.Connection(session=session_of(environment), **version)) as connection:
        yield connection.shared_file_system


@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")  # the SDK's words to itself
def test_the_sdk_takes_a_share_through_its_life(sdk: Any) -> None:
    name = f"sdk-{uuid.uuid4().hex[:8]}"
    share = sdk.create_share(name=name, size=1, share_protocol="NFS")
    share = sdk.wait_for_status(share, "available", ["error"], interval=0.2, wait=SECONDS)
    assert share.id in {each.id for each in sdk.shares()}
    assert sdk.find_share(name, ignore_missing=False).id == share.id
    assert next(iter(sdk.export_locations(share.id))).path
    sdk.create_share_metadata(share.id, color="blue")
    assert sdk.get_share_metadata(share.id).metadata["color"] == "blue"

    rule = sdk.create_access_rule(share.id, access_type="ip", access_to="198.51.100.9", access_level="rw")
    awaited(lambda: bool(sdk.get_access_rule(rule.id).state == "active"))
    assert [each.access_to for each in sdk.access_rules(share)] == ["198.51.100.9"]
    sdk.delete_access_rule(rule.id, share.id)
    awaited(lambda: not list(sdk.access_rules(share)))

    sdk.resize_share(share.id, 2)
    awaited(lambda: (sdk.get_share(share.id).status, sdk.get_share(share.id).size) == ("available", 2))
    snapshot = sdk.create_share_snapshot(share_id=share.id, name="kept")
    snapshot = sdk.wait_for_status(snapshot, "available", ["error"], interval=0.2, wait=SECONDS)
    sdk.delete_share_snapshot(snapshot)
    sdk.wait_for_delete(snapshot, interval=0.2, wait=SECONDS)
    sdk.delete_share(share)
    sdk.wait_for_delete(share, interval=0.2, wait=SECONDS)


@pytest.mark.filterwarnings("ignore::openstack.warnings.RemovedInSDK50Warning")
def test_the_sdk_understands_errors(sdk: Any) -> None:
    from openstack import exceptions

    with pytest.raises(exceptions.NotFoundException):
        sdk.get_share(str(uuid.uuid4()))
    with pytest.raises(exceptions.BadRequestException, match="protocol"):
        sdk.create_share(size=1, share_protocol="FTP")
    assert [zone.name for zone in sdk.availability_zones()] == ["nova"]
