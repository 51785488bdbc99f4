"""Several processes of each service at once, on one database and one engine; some of them die."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from lab.control_plane import ControlPlane, free_ports
from lab.rest_user import RestUser
from tests.image_packages import content_of, leftovers_of_images, make_image, make_site

ISTHMUS = str(Path(sys.executable).parent / "isthmus")
MACHINES = 8
READY_SECONDS = 90


class Second:
    """A second API, conductor and worker beside those of a control plane."""

    def __init__(self, plane: ControlPlane, place: Path) -> None:
        self._place = place
        self._plane = plane
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        port = free_ports()["api"]
        self.own = place / "second.conf"
        self.own.write_text(f"[api]\nport = {port}\n[worker]\nstaging_dir = {place}/staging\n")
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
