"""The world of the bad-input tests: one control plane, two clouds, a few odd machines, and what was left behind."""

import base64
import contextlib
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libvirt
import psutil
from lab import bad_guests
from lab.clouds import LibvirtCloud
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser

PASSWORD = f"swordfish-{uuid.uuid4().hex}"
"""East's SASL password: found nowhere else, so each hit is a leak."""
MIB = 1 << 20
SMALL_POOL_MIB = 48
EAST_MACHINES = ("talker", "busy", "packed", "vast", "shared", "broken", "debian", "alpine", "smashed")


@dataclass
class World:
    """East has the machines and asks for a password, west takes them in; pool `small` of west is a tmpfs."""

    plane: ControlPlane
    user: RestUser
    east: LibvirtCloud
    west: LibvirtCloud
    pool: ThreadPoolExecutor
    endpoints: dict[str, str] = field(default_factory=dict)
    staged_before: set[str] = field(default_factory=set)
    """What other tests' transfers keep in the worker's staging directory."""

    def __post_init__(self) -> None:
        self.staged_before = self._staged()

    @property
    def east_connection(self) -> dict[str, Any]:
        """East's connection details, with the password."""
        return {**self.east.connection, "username": "tester", "password": PASSWORD}

    def endpoint(self, name: str, connection: dict[str, Any]) -> str:
        """Register an endpoint and return its id."""
        body = {"name": f"{name}-{uuid.uuid4().hex[:6]}", "type": "libvirt", "connection_info": connection}
        return str(self.user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"])

    def transfer(self, instance: str, **changes: Any) -> str:
        """Make a transfer of one machine from east to west and return its id."""
        body = {
            "origin_endpoint_id": self.endpoints["east"],
            "destination_endpoint_id": self.endpoints["west"],
            "instances": [instance],
            "network_map": {"default": "default"},
            "destination_environment": {"morphing_way_in": "worker-kernel"},
            **changes,
        }
        return str(self.user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"])

    def execute(self, transfer: str, **wishes: Any) -> str:
        """Begin an execution and return its path."""
        made = self.user.made("POST", f"/transfers/{transfer}/executions", {"execution": wishes})["execution"]
        return f"/transfers/{transfer}/executions/{made['id']}"

    def executed(self, transfer: str, **wishes: Any) -> dict[str, Any]:
        """Run an execution to its end and return it."""
        return self.user.ended(self.execute(transfer, **wishes), "execution")

    def deployed(self, transfer: str, **wishes: Any) -> dict[str, Any]:
        """Run a deployment to its end and return it."""
        body = {"transfer_id": transfer, **wishes}
        made = self.user.made("POST", "/deployments", {"deployment": body})["deployment"]
        return self.user.ended(f"/deployments/{made['id']}", "deployment")

    def given_up(self, transfer: str) -> None:
        """Delete a transfer and its disks, and wait until its checkpoints are gone too."""
        made = self.user.made("POST", f"/transfers/{transfer}/actions", {"delete-disks": None})["execution"]
        ended = self.user.ended(f"/transfers/{transfer}/executions/{made['id']}", "execution")
        assert ended["status"] == "COMPLETED", ended
        self.user.made("DELETE", f"/transfers/{transfer}")

    def running(self, name: str) -> bool:
        """Whether a machine of east is on."""
        with closing(self.east.connect()) as connection:
            return bool(connection.lookupByName(name).isActive())

    def power_off(self, name: str) -> None:
        """Cut the power of a machine of east."""
        with closing(self.east.connect()) as connection, contextlib.suppress(libvirt.libvirtError):
            connection.lookupByName(name).destroy()

    def power_on(self, name: str) -> None:
        """Start a machine of east."""
        with closing(self.east.connect()) as connection:
            connection.lookupByName(name).create()

    def leftovers(self) -> list[str]:
        """Return what Isthmus has left in both clouds and on the worker, once what ends by itself has had its time."""
        deadline = time.monotonic() + 15
        while (found := self.leftovers_now()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def leftovers_now(self) -> list[str]:
        """Return what `leftovers` does, as it is this moment: replicas are among it."""
        found = [*_in_cloud(self.east), *_in_cloud(self.west)]
        found += [f"staging: {name}" for name in sorted(self._staged() - self.staged_before)]
        worker = psutil.Process(self.plane.pid("worker"))
        found += [f"process of the worker: {child.name()}" for child in worker.children(recursive=True)]
        ours = (str(self.plane.state_dir), str(self.east.directory), str(self.west.directory), "isthmus-morph")
        pools = str(self.plane.state_dir / "shares")
        for device in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                backing = device.read_text()
                # The pool of shares has one for as long as the control plane runs.
                kept = pools in backing or not any(each in backing for each in ours)
                found += [] if kept else [f"loop device on {backing.strip()}"]
        return found

    def _staged(self) -> set[str]:
        staging = self.plane.state_dir / "isthmus" / "staging"
        return {str(path.relative_to(staging)) for path in staging.rglob("*")}

    def remove_from_west(self, name: str) -> None:
        """Remove a machine that arrived, with its disks, as its owner would."""
        with closing(self.west.connect()) as connection:
            domain = connection.lookupByName(name)
            if domain.isActive():
                domain.destroy()
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
            for pool in connection.listAllStoragePools():
                pool.refresh()
                for volume in pool.listAllVolumes():
                    volume.delete()


def _in_cloud(cloud: LibvirtCloud) -> Iterator[str]:
    """Yield helper domains, volumes, checkpoints, backup jobs, marks and sockets; west has no machines of its own."""
    with closing(cloud.connect()) as connection:
        for domain in connection.listAllDomains():
            name = domain.name()
            if cloud.name == "west" or name.startswith("isthmus-"):
                yield f"{cloud.name}: domain {name}"
            with contextlib.suppress(libvirt.libvirtError):  # a domain that ends just now
                yield from (f"{cloud.name}: checkpoint {each.getName()}" for each in domain.listAllCheckpoints())
                if "isthmus.dev" in domain.XMLDesc():
                    yield f"{cloud.name}: mark on {name}"
                if domain.isActive() and domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                    yield f"{cloud.name}: job of {name}"
        for pool in connection.listAllStoragePools():
            pool.refresh()
            yield from (
                f"{cloud.name}: volume {pool.name()}/{each}"
                for each in pool.listVolumes()
                if cloud.name == "west" or not each.startswith(EAST_MACHINES)
            )
    yield from (f"{cloud.name}: socket {each.name}" for each in cloud.nbd_directory.iterdir())


def tasks(ended: dict[str, Any], *, status: str | None = None) -> list[str]:
    """Return the types of the tasks that have (this or any) status, in order."""
    return [each["task_type"] for each in ended["tasks"] if status in (None, each["status"])]


def why(ended: dict[str, Any]) -> str:
    """Return what the one failed task's ERROR events and its `exception_details` say, checking that both do."""
    (failed,) = [each for each in ended["tasks"] if each["status"] == "ERROR"]
    assert failed["exception_details"]
    told = [each["message"] for each in failed["events"] if each["level"] == "ERROR"]
    assert told, failed
    return "\n".join(told)


@contextlib.contextmanager
def world_of(plane: ControlPlane, user: RestUser) -> Iterator[World]:
    """Build the world; at its end everything in it is gone."""
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="/tmp/bad-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        users = {"tester": PASSWORD}
        east = stack.enter_context(LibvirtCloud("east", directory / "e", users=users))
        west = stack.enter_context(LibvirtCloud("west", directory / "w"))
        pool = stack.enter_context(ThreadPoolExecutor(8))
        _make_machines(east)
        _make_small_pool(west)
        world = World(plane, user, east, west, pool)
        world.endpoints |= {
            "east": world.endpoint("east", world.east_connection),
            "west": world.endpoint("west", west.connection),
        }
        yield world


def _make_machines(east: LibvirtCloud) -> None:
    bad_guests.talker(east, "talker")
    bad_guests.random_bytes(east, "busy", 160)
    bad_guests.packed(east, "packed", 2 * SMALL_POOL_MIB)
    bad_guests.vast(east, "vast")
    bad_guests.shared(east, "shared")
    bad_guests.broken(east, "broken")
    bad_guests.debian(east, "debian")
    bad_guests.debian(east, "alpine", os_release='PRETTY_NAME="Alpine Linux v3.20"\nID=alpine\n')
    bad_guests.debian(east, "smashed", smash=True)


def _make_small_pool(west: LibvirtCloud) -> None:
    """Mount the tmpfs in the cloud's own mount namespace, so that it goes with the cloud."""
    place = west.directory / "small"
    place.mkdir()
    done = west.run("mount", "-t", "tmpfs", "-o", f"size={SMALL_POOL_MIB}m", "small", str(place))
    assert done.returncode == 0, done.stderr
    with closing(west.connect()) as connection:
        target = f"<target><path>{place}</path></target>"
        connection.storagePoolDefineXML(f"<pool type='dir'><name>small</name>{target}</pool>").create()


def files_with(place: Path, wanted: str) -> list[Path]:
    """Return the files below `place` that hold a text, alone or in base64 (as histories may keep it).

    The image of the pool of shares is left out: it is 100 GiB of holes, and its files are seen where it is mounted.
    """
    forms = [wanted.encode(), *_in_base64(wanted)]
    found = []
    for path in place.rglob("*"):
        with contextlib.suppress(OSError):  # files that go while we look
            if path.name == "pool.img" or not path.is_file():
                continue
            if any(form in content for content in [path.read_bytes()] for form in forms):
                found.append(path)
    return found


def _in_base64(text: str) -> list[bytes]:
    """Return what the inside of a text looks like in base64, for each of the three places where it may begin."""
    return [base64.b64encode(b"\0" * skip + text.encode())[4:-4] for skip in range(3)]
