"""Where many small machines move in a chaos run: two directories of images, one control plane, and what to look for.

Everything goes through the API with a token, asked again while a part that was killed is away. A machine is one raw
image of random data; its replicas and deployed disks are compared with it by `qemu-img compare`.
"""

import os
import random
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
from keystoneauth1.exceptions import ClientException
from sqlalchemy import select, update

from isthmus.control.configuration import load
from isthmus.control.database import Database, utc_now
from isthmus.migration.tables import ScheduleFiringRow, ScheduleRow
from lab.control_plane import ControlPlane
from lab.rest_user import ENDED, RestUser

MIB = 1 << 20
DATA_MIB = 24
LIMIT_SECONDS = 240
"""For one operation, until it counts as stuck: longer than the engine takes to give a step up is needless."""
PATIENCE_SECONDS = 90
POLL_SECONDS = 0.15
NBD_SERVER = "nbd-server"

JSON = dict[str, Any]


class Ground:
    """Two clouds of images as endpoints of one user. `lot` decides all that is left to chance."""

    def __init__(self, plane: ControlPlane, place: Path, lot: random.Random) -> None:
        self.plane = plane
        self.lot = lot
        self.user = RestUser.of(plane.demo_environment)
        self.database = Database(load(["--config-file", str(plane.configuration)]).database.connection)
        self.east, self.west = (place / side / "images" for side in ("east", "west"))
        self._open = plane.state_dir / "isthmus" / "open"
        self.ends = [self._endpoint(images) for images in (self.east, self.west)]

    def _endpoint(self, images: Path) -> str:
        images.mkdir(parents=True)
        connection = {"path": str(images)}
        body = {"name": images.parent.name, "type": "images", "connection_info": connection}
        return str(self.user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"])

    def close(self) -> None:
        """Remove the endpoints."""
        for end in self.ends:
            self.patiently("DELETE", f"/endpoints/{end}")
        self.database.close()

    # -- machines ----------------------------------------------------------------------------------------------------

    def machine(self, name: str) -> None:
        """Make a machine at the source."""
        with (self.east / f"{name}.raw").open("wb") as image:
            image.write(self.lot.randbytes(DATA_MIB * MIB))
            image.truncate((DATA_MIB + 8) * MIB)

    def change(self, name: str) -> None:
        """Change some of a machine's data."""
        with (self.east / f"{name}.raw").open("r+b") as image:
            for _ in range(4):
                image.seek(self.lot.randrange(DATA_MIB) * MIB)
                image.write(self.lot.randbytes(MIB))

    def differs(self, name: str, where: Path) -> str:
        """Return how an image differs from the machine's source, "" if it does not."""
        command = ["qemu-img", "compare", "-U", "-f", "raw", "-F", "qcow2", str(self.east / f"{name}.raw"), str(where)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        return f"{name}: {done.stdout.strip()} {done.stderr.strip()}" if done.returncode else ""

    def deployed(self, name: str) -> Path:
        """Return the disk of a deployed machine."""
        return self.west / name / "disk1.qcow2"

    # -- the API -----------------------------------------------------------------------------------------------------

    def patiently(self, method: str, path: str, body: object = None, *, fine: tuple[int, ...] = ()) -> Any:
        """Return the JSON of a call that is made again while the service is away; statuses in `fine` give None."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                answer = self.user.call(method, path, body)
            except ClientException as error:
                said, again = f"{type(error).__name__}: {error}", True
            else:
                if answer.status_code < 300:
                    return answer.json() if answer.content else None
                if answer.status_code in fine:
                    return None
                said, again = f"{answer.status_code} {answer.text}", answer.status_code in {401, 409, 500, 502, 503}
            if not again or time.monotonic() > deadline:
                raise RuntimeError(f"{method} {path}: {said}")
            time.sleep(0.3)

    def transfer(self, name: str) -> str:
        """Make a machine's transfer."""
        body = {
            "origin_endpoint_id": self.ends[0],
            "destination_endpoint_id": self.ends[1],
            "instances": [name],
            "network_map": {},
            "skip_os_morphing": True,
        }
        return str(self.patiently("POST", "/transfers", {"transfer": body})["transfer"]["id"])

    def execute(self, transfer: str) -> str:
        """Begin an execution and return its path."""
        path = f"/transfers/{transfer}/executions"
        return f"{path}/{self.patiently('POST', path, {'execution': {}})['execution']['id']}"

    def deploy(self, transfer: str, *, clone: bool) -> str:
        """Begin a deployment and return its path."""
        body = {"transfer_id": transfer, "skip_os_morphing": True, "clone_disks": clone}
        return f"/deployments/{self.patiently('POST', '/deployments', {'deployment': body})['deployment']['id']}"

    def look(self, path: str) -> JSON:
        """Return an execution or a deployment."""
        shown: JSON = next(iter(self.patiently("GET", path).values()))
        return shown

    def completed(self, path: str) -> None:
        """Wait for an end that must be COMPLETED."""
        self.until(lambda: status_of(self.look(path)) in ENDED, path)
        shown = self.look(path)
        if status_of(shown) != "COMPLETED":
            raise RuntimeError(f"{path} is {status_of(shown)}: {reasons_of(shown)}")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition is true; TimeoutError says what was waited for."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} has not ended after {LIMIT_SECONDS} s")
            time.sleep(POLL_SECONDS)

    def begin_again(self, schedule_id: str) -> None:
        """Have a schedule be due in a second: nobody waits for a wall clock's minute."""
        with self.database.transaction() as session:
            due = utc_now() + timedelta(seconds=1)
            session.execute(update(ScheduleRow).where(ScheduleRow.id == schedule_id).values(next_due_at=due))

    def firings(self, schedule_id: str) -> list[str]:
        """Return what became of a schedule's due times."""
        with self.database.transaction() as session:
            wanted = select(ScheduleFiringRow.outcome).where(ScheduleFiringRow.schedule_id == schedule_id)
            return [str(each) for each in session.scalars(wanted)]

    # -- blows, and what they leave ----------------------------------------------------------------------------------

    def strike(self, part: str) -> bool:
        """Kill a part, or all that serves images now; return whether there was anything to kill."""
        if part != NBD_SERVER:
            self.plane.kill(part)
            return True
        victims = self._servers()
        for victim in victims:
            with_children = [victim, *_children(victim)]
            for process in with_children:
                try:
                    process.kill()
                except psutil.Error:
                    continue
        return bool(victims)

    def _servers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if words[:1] == ["bwrap"] and any(str(self._open) in word for word in words):
                found.append(process)
        return found

    def left(self) -> list[str]:
        """Return what is there though all transfers are deleted."""
        hidden = [self.west / ".isthmus", self.east / ".isthmus", self._open / "images"]
        found = [
            f"{each.parent.parent.name}: {each.name}" for place in hidden if place.exists() for each in place.iterdir()
        ]
        found += [f"staging: {each.name}" for each in (self.plane.state_dir / "isthmus" / "staging").glob("*")]
        return found + [f"process {each.pid}" for each in self._servers()]


def status_of(shown: JSON) -> str:
    """Return the status of an execution or a deployment."""
    return str(shown["status"] if "status" in shown else shown["last_execution_status"])


def reasons_of(shown: JSON) -> str:
    """Return why its steps failed."""
    return "; ".join(task["exception_details"] for task in shown["tasks"] if task["exception_details"])


def running_in(shown: JSON) -> list[str]:
    """Return the steps that run."""
    return [task["task_type"] for task in shown["tasks"] if task["status"] == "RUNNING"]


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def free_disk(path: Path) -> None:
    """Give a file's room back. Already done: it is gone."""
    if path.exists():
        os.unlink(path)
