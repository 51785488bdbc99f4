"""The container image, made by a real Docker Engine, and services out of it beside those of a control plane."""

import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.container_engine import ContainerEngine
from lab.control_plane import ControlPlane, free_ports
from lab.rest_user import RestUser
from tests.image_packages import content_of, leftovers_of_images, make_image, make_site

BASE, IMAGE, REGION = "localhost/debian:12", "localhost/isthmus:test", "box"
CONTAINER = Path("packaging/container")
ROOT_RIGHTS = (
    *("--user", "root", "--cap-add", "SYS_ADMIN", "--cap-add", "NET_ADMIN", "--device", "/dev/fuse"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"),
    *("--security-opt", "systempaths=unconfined"),
)
MINUTES = 60


def packages_of(name: str) -> list[str]:
    return [line for line in (CONTAINER / name).read_text().split("\n") if line and not line.startswith("#")]


def test_the_images_lock_is_a_part_of_the_lock() -> None:
    pinned = re.compile(r"^([a-z0-9._-]+)==(\S+) \\$", re.MULTILINE)
    whole = dict(pinned.findall(Path("requirements.lock").read_text()))
    part = dict(pinned.findall((CONTAINER / "requirements.lock").read_text()))
    assert {"sqlalchemy", "temporalio", "openstacksdk", "psycopg", "setuptools"} <= set(part)
    assert part.items() <= whole.items()
    assert not {"mypy", "pytest", "keystone", "neutron"} & set(part)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerEngine]:
    """An engine with the image, on a base made here: no registry is asked."""
    place = tmp_path_factory.mktemp("container")
    archive, context = place / "base.tar", place / "context"
    everything = sorted({*packages_of("debian-run.txt"), *packages_of("debian-build.txt")})
    bootstrap = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(everything)}"]
    bootstrap += ['--aptopt=Apt::Install-Recommends "false"', "bookworm", str(archive)]
    # Nothing boots from a container: no initramfs is made of its kernel, which is for guests' appliances.
    subprocess.run(bootstrap, check=True, timeout=30 * MINUTES, env={**os.environ, "INITRD": "No"})
    copy_context(context)
    wheels = [".venv/bin/pip", "download", "--quiet", "--no-deps", "--require-hashes", "-d"]
    wheels += [str(context / CONTAINER / "wheels"), "-r", str(CONTAINER / "requirements.lock")]
    subprocess.run(wheels, check=True, timeout=30 * MINUTES)
    with ContainerEngine() as docker:
        docker.import_tree(archive, BASE)
        archive.unlink()
        build = ("build", "--network", "none", "--build-arg", f"BASE={BASE}", "-t", IMAGE)
        docker.run(*build, "-f", str(context / CONTAINER / "Containerfile"), str(context), limit=30 * MINUTES)
        yield docker


def copy_context(context: Path) -> None:
    """Copy what git knows: an image is made of a clean tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True).stdout
    context.mkdir()
    subprocess.run(["cp", "--parents", "-t", str(context), *listed.decode().rstrip("\0").split("\0")], check=True)


def wait_healthy(docker: ContainerEngine, name: str) -> None:
    deadline = time.monotonic() + 5 * MINUTES
    while (state := json.loads(docker.run("inspect", "--format", "{{json .State}}", name)))["Health"][
        "Status"
    ] != "healthy":
        said = docker.tell("logs", name)
        assert state["Running"], (said.stdout + said.stderr).decode()
        assert time.monotonic() < deadline, (state, (said.stdout + said.stderr).decode())
        time.sleep(0.5)


def stop_cleanly(docker: ContainerEngine, name: str) -> None:
    docker.run("stop", "--time", "60", name, limit=120)
    state = json.loads(docker.run("inspect", "--format", "{{json .State}}", name))
    assert (state["ExitCode"], state["OOMKilled"]) == (0, False)


def configuration_for(plane: ControlPlane, place: Path, port: int, images: Path) -> tuple[str, ...]:
    """Write what the containers are configured by; return the options that give it to them."""
    text = plane.configuration.read_text()
    (sock,) = set(re.findall(r"unix_socket=([^&\s]+)", text))
    (place / "isthmus.conf").write_text(text.replace(sock, "/run/isthmus-db.sock"))
    (place / "own.conf").write_text(
        f"[DEFAULT]\nstate_dir = /var/lib/isthmus\n[api]\nport = {port}\n"
        f"[worker]\nqueues = {REGION}\nstaging_dir = /var/lib/isthmus/staging\nimage_directories = {images}\n"
    )
    for name in ("isthmus.conf", "own.conf"):
        (place / name).chmod(0o644)
    return ("--network", "host", "-v", f"{place}:/etc/isthmus:ro", "-v", f"{sock}:/run/isthmus-db.sock")


@pytest.mark.nightly
@pytest.mark.timeout(5400)
def test_api_and_worker_out_of_the_image_move_a_machine(control_plane: ControlPlane, engine: ContainerEngine) -> None:
    user = RestUser.of(control_plane.demo_environment)
    port = free_ports()["api"]
    quick = ("--health-interval", "2s", "--health-retries", "100")
    files = ("--config-file", "/etc/isthmus/isthmus.conf", "--config-file", "/etc/isthmus/own.conf")
    with tempfile.TemporaryDirectory(prefix="/tmp/co-") as name:
        place = Path(name)
        place.chmod(0o755)
        east, west = (make_site(place / side) for side in ("east", "west"))
        shared = configuration_for(control_plane, place, port, place)
        health = ("-e", f"ISTHMUS_HEALTH_URL=http://127.0.0.1:{port}/healthcheck")
        engine.run(
            "run",
            "-d",
            "--name",
            "api",
            "--read-only",
            "--cap-drop",
            "ALL",
            *_scratch(),
            *quick,
            *health,
            *shared,
            IMAGE,
            "api",
            *files,
        )
        engine.run(
            "run",
            "-d",
            "--name",
            "worker",
            *ROOT_RIGHTS,
            *quick,
            *shared,
            "-v",
            f"{place}:{place}",
            IMAGE,
            "worker",
            *files,
        )
        for service in ("api", "worker"):
            wait_healthy(engine, service)
        assert engine.run("exec", "api", "id", "-un") == "isthmus"
        make_image(Path(east["path"]) / "boxed.raw", 8, seed=3)
        base = f"http://127.0.0.1:{port}/v1/{user.project_id}"
        ends = []
        for side, connection in (("east", east), ("west", west)):
            body = {"name": f"box-{side}", "type": "images", "connection_info": connection, "mapped_regions": [REGION]}
            ends.append(user.made("POST", f"{base}/endpoints", {"endpoint": body})["endpoint"]["id"])
        wanted = {"origin_endpoint_id": ends[0], "destination_endpoint_id": ends[1], "network_map": {}}
        wanted["instances"] = ["boxed"]
        transfer = user.made("POST", f"{base}/transfers", {"transfer": wanted})["transfer"]["id"]
        started = user.made("POST", f"{base}/transfers/{transfer}/executions", {"execution": {}})["execution"]["id"]
        shown = user.ended(f"{base}/transfers/{transfer}/executions/{started}", "execution", 600)
        assert shown["status"] == "COMPLETED", [task["exception_details"] for task in shown["tasks"]]
        (replica,) = Path(west["path"]).glob(".isthmus/replica-*.qcow2")
        subprocess.run(["qemu-img", "convert", "-O", "raw", str(replica), str(place / "raw")], check=True)
        assert (place / "raw").read_bytes() == content_of(8, 3)
        assert leftovers_of_images(east) == []
        engine.run("exec", "api", "pkill", "-STOP", "-f", "gunicorn")
        deadline = time.monotonic() + 2 * MINUTES
        while engine.tell("exec", "api", "isthmus-healthy", limit=60).returncode == 0:
            assert time.monotonic() < deadline
        engine.run("exec", "api", "pkill", "-CONT", "-f", "gunicorn")
        for service in ("api", "worker"):
            stop_cleanly(engine, service)


@pytest.mark.nightly
@pytest.mark.timeout(5400)
def test_every_program_that_a_service_runs_is_in_the_image(engine: ContainerEngine) -> None:
    programs = "qemu-img qemu-nbd bwrap nbdcopy nbdfuse bsdtar blkid mkfs.btrfs e2fsck ganesha.nfsd smbd isthmus-cni"
    each = f"PATH=$PATH:/opt/isthmus/.venv/bin; for program in {programs}; do command -v $program; done"
    found = engine.run("run", "--rm", "--entrypoint", "sh", IMAGE, "-c", each)
    assert len(found.split()) == len(programs.split())
    for service in ("api", "conductor", "worker", "share-manager", "network-agent"):
        assert "--config-file" in engine.run("run", "--rm", IMAGE, service, "--help")


def _scratch() -> tuple[str, ...]:
    """The places where a service with a read-only root file system writes."""
    own = ("/run/isthmus", "/var/lib/isthmus")
    return ("--tmpfs", "/tmp", *(word for place in own for word in ("--tmpfs", f"{place}:uid=767,gid=767")))
