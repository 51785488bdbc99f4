"""Several processes of each service at once, on one database and one engine; some of them die."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lab.control_plane import ControlPlane, free_ports
from lab.rest_user import RestUser
from tests.image_packages import content_of, leftovers_of_images, make_image, make_site

ISTHMUS = str(Path(sys.executable).parent / "isthmus")
MACHINES = 8
READY_SECONDS = 90
SLOW = 4 << 20
BIG = 32 << 20


class Second:
    """A second API, conductor and worker beside those of a control plane."""

    def __init__(self, plane: ControlPlane, place: Path) -> None:
        self._place = place
        self._plane = plane
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        port = free_ports()["api"]
        self.own = place / "second.conf"
        worker = f"[worker]\nstaging_dir = {place}/staging\nbandwidth_limit = {SLOW}\n"
        self.own.write_text(f"[api]\nport = {port}\n{worker}")
        self.url = f"http://127.0.0.1:{port}"

    def start(self) -> None:
        """Start all three and wait until they are ready."""
        for name in ("api", "conductor", "worker"):
            command = [ISTHMUS, name, "--config-file", str(self._plane.configuration), "--config-file", str(self.own)]
            environment = {**os.environ, "ISTHMUS_READY_FILE": str(self._ready(name))}
            with (self._place / f"{name}.log").open("wb") as log:
                self._processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        for name, process in self._processes.items():
            for _ in range(READY_SECONDS * 10):
                if self._ready(name).exists():
                    break
                assert process.poll() is None, (self._place / f"{name}.log").read_text()
                _pause(process)
            assert self._ready(name).exists(), f"the second {name} is not ready after {READY_SECONDS} s"

    def process_id(self, name: str) -> int:
        """Return the process of one of them."""
        return self._processes[name].pid

    def kill(self, name: str) -> None:
        """kill -9."""
        self._processes[name].kill()
        self._processes.pop(name).wait(30)

    def stop(self) -> None:
        """End what still runs, as a service manager does."""
        for process in self._processes.values():
            process.terminate()
        assert [process.wait(90) for process in self._processes.values()] == [0] * len(self._processes)

    def _ready(self, name: str) -> Path:
        return self._place / f"{name}.ready"


def _pause(process: "subprocess.Popen[bytes]") -> None:
    """Wait a tenth of a second, or less if the process ends."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return


@pytest.fixture
def second(control_plane: ControlPlane) -> Iterator[Second]:
    with tempfile.TemporaryDirectory(prefix="/tmp/iso-") as name:
        made = Second(control_plane, Path(name))
        made.start()
        try:
            yield made
        finally:
            made.stop()


def endpoint(user: RestUser, name: str, connection: dict[str, Any]) -> str:
    body = {"name": name, "type": "images", "connection_info": connection}
    return str(user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"])


def held(path: Path) -> bytes:
    raw = path.with_suffix(".check")
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)], check=True)
    return raw.read_bytes()


@pytest.mark.timeout(600)
def test_executions_go_on_though_one_of_each_service_dies(control_plane: ControlPlane, second: Second) -> None:
    user = RestUser.of(control_plane.demo_environment)
    there = f"{second.url}/v1/{user.project_id}"
    with tempfile.TemporaryDirectory(prefix="/tmp/iso-") as name, ExitStack() as stack:
        east, west = (make_site(Path(name) / side) for side in ("east", "west"))
        for number in range(MACHINES):
            make_image(Path(east["path"]) / f"machine{number}.raw", 8, seed=number)
        ends = {side: endpoint(user, f"scale-{side}", place) for side, place in (("e", east), ("w", west))}
        paths = []
        for number in range(MACHINES):
            # By turns through both APIs: what one has written the other knows.
            base = (there, "")[number % 2]
            body = {"origin_endpoint_id": ends["e"], "destination_endpoint_id": ends["w"], "network_map": {}}
            body["instances"] = [f"machine{number}"]
            transfer = user.made("POST", f"{base}/transfers", {"transfer": body})["transfer"]["id"]
            started = user.made("POST", f"{base}/transfers/{transfer}/executions", {"execution": {}})["execution"]["id"]
            paths.append(f"/transfers/{transfer}/executions/{started}")
        waiting = stack.enter_context(ThreadPoolExecutor(MACHINES))
        ended = [waiting.submit(user.ended, path, "execution", 300) for path in paths]
        second.kill("api")
        control_plane.kill("conductor")
        second.kill("worker")
        shown = [each.result() for each in ended]
        assert [each["status"] for each in shown] == ["COMPLETED"] * MACHINES, shown
        replicas = sorted(Path(west["path"]).glob(".isthmus/replica-*.qcow2"))
        assert sorted(held(path) for path in replicas) == sorted(content_of(8, number) for number in range(MACHINES))
        assert leftovers_of_images(east) == []
    control_plane.wait_ready()


def copies(user: RestUser, path: str) -> list[dict[str, Any]]:
    shown = user.made("GET", path)["execution"]["tasks"]
    return [task for task in shown if task["task_type"] == "REPLICATE_DISKS"]


def workers(administrator: RestUser) -> dict[int, dict[str, Any]]:
    """Return the installation's workers by process."""
    services = administrator.made("GET", "/services")["services"]
    return {each["process_id"]: each for service in services for each in service["workers"]}


def is_removed(user: RestUser, path: str) -> bool:
    return user.call("DELETE", path).status_code == 204


def is_copying(task: dict[str, Any], process: int) -> bool:
    return task["process_id"] == process and any(each["current_step"] > 0 for each in task["progress_updates"])


@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_copies_of_a_killed_worker_go_on_at_the_other(control_plane: ControlPlane, second: Second) -> None:
    user, administrator = (
        RestUser.of(each) for each in (control_plane.demo_environment, control_plane.admin_environment)
    )
    dying = second.process_id("worker")
    until(lambda: dying in workers(administrator), "the second worker's lease")
    with tempfile.TemporaryDirectory(prefix="/tmp/iso-") as name:
        east, west = (make_site(Path(name) / side) for side in ("east", "west"))
        contents = [os.urandom(BIG) for _ in range(4)]
        for number, content in enumerate(contents):
            (Path(east["path"]) / f"machine{number}.raw").write_bytes(content)
        ends = [endpoint(user, f"takeover-{side}", place) for side, place in (("e", east), ("w", west))]
        body = {"origin_endpoint_id": ends[0], "destination_endpoint_id": ends[1], "network_map": {}}
        body["instances"] = [f"machine{number}" for number in range(len(contents))]
        transfer = user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"]
        started = user.made("POST", f"/transfers/{transfer}/executions", {"execution": {}})["execution"]["id"]
        path = f"/transfers/{transfer}/executions/{started}"
        until(lambda: any(is_copying(task, dying) for task in copies(user, path)), "a copy at the second worker")
        second.kill("worker")
        shown = user.ended(path, "execution", 300)
        assert shown["status"] == "COMPLETED", shown
        assert {workers(administrator)[task["process_id"]]["status"] for task in copies(user, path)} == {"UP"}
        assert workers(administrator)[dying]["status"] == "DOWN"
        replicas = Path(west["path"]).glob(".isthmus/replica-*.qcow2")
        assert sorted(held(each) for each in replicas) == sorted(contents)
        removed = user.made("POST", f"/transfers/{transfer}/actions", {"delete-disks": None})["execution"]["id"]
        assert user.ended(f"/transfers/{transfer}/executions/{removed}", "execution")["status"] == "COMPLETED"
        user.made("DELETE", f"/transfers/{transfer}")
        for each in ends:
            # What the transfer left there is removed first.
            until(partial(is_removed, user, f"/endpoints/{each}"), "endpoint removed")
        assert leftovers_of_images(east) == []


def until(condition: Callable[[], bool], what: str, limit: float = 120) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {limit} s"
        time.sleep(0.2)
