"""Whole machines: time beside virt-v2v's, down time by how much has changed, and what the death of a worker costs.

virt-v2v converts the same Debian guest from the same qcow2 file in a directory to a qcow2 file and libvirt's XML in
another (`-i disk -o local`); Isthmus does so through its API with the images provider at both ends, morphing in the
same libguestfs appliance. Isthmus keeps a replica beside the machine, so it writes the disk once more; virt-v2v does
not read back what it has written, Isthmus does.

Down time is that of the tiny guest between two libvirt clouds: from the request to stop at the source to the proof
that it has booted at the destination, a boot under emulation; what is Isthmus' own in it stands beside it.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
import zlib
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path
from typing import Any

import libvirt_qemu
from lab import chaos, debian_guest
from lab.chaos_round import Kill
from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from lab.tiny_guest import TinyGuest, build_disks, domain_xml

from isthmus.migration.morphing.acceleration import kvm_works

MIB = 1 << 20
LIMIT_SECONDS = 900
SHARES = (0.01, 0.05)
GUEST = "bench"
GOAL = 0.5
LONG_STEP_SECONDS = 0.5


def measure(data_mib: int, rounds: int = 3) -> dict[str, Any]:
    """Return all figures; `data_mib` is how large the data disk of the down time's machine is, full of data.

    `rounds` is how often virt-v2v and Isthmus take their turns.
    """
    with tempfile.TemporaryDirectory(prefix="/tmp/bm-") as name, ExitStack() as stack:
        place = Path(name)
        plane = stack.enter_context(ControlPlane(only=chaos.MIGRATION))
        user = RestUser.of(plane.demo_environment)
        whole = beside_virt_v2v(user, place, rounds)
        east, west = (stack.enter_context(LibvirtCloud(side, place / side)) for side in ("east", "west"))
        down = DownTime(user, east, west, data_mib)
        times = {f"{share:.0%} changed": down.measured(share) for share in SHARES}
    return {"beside_virt_v2v": whole, "down_time": times, "death_of_a_worker": death_of_a_worker()}


# -- beside virt-v2v ---------------------------------------------------------------------------------------------------


def beside_virt_v2v(user: RestUser, place: Path, rounds: int) -> dict[str, Any]:
    """Seconds of both, by turns, and their ratio; nothing but the reason where virt-v2v is not installed."""
    if shutil.which("virt-v2v") is None:
        return {"not_measured": "virt-v2v is not installed: make setup-bench"}
    image = debian_guest.cached_image()
    ends = {}
    for side in ("from", "to"):
        (place / side / "images").mkdir(parents=True)
        connection = {"path": str(place / side / "images")}
        body = {"name": f"images-{side}", "type": "images", "connection_info": connection}
        ends[side] = user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"]
    shutil.copyfile(image, place / "from" / "images" / f"{GUEST}.qcow2")
    ours, theirs = [], []
    for number in range(rounds):
        theirs.append(seconds_of_virt_v2v(image, place / f"v2v{number}"))
        ours.append(seconds_of_isthmus(user, ends))
        shutil.rmtree(place / "to" / "images" / GUEST, ignore_errors=True)
    mine, peer = (statistics.median(each["seconds"] for each in ours), statistics.median(theirs))
    return {
        "isthmus_seconds": mine,
        "virt_v2v_seconds": peer,
        "over_virt_v2v": round(mine / peer, 2),
        "goal": GOAL,
        "goal_met": mine / peer <= GOAL,
        "isthmus_rounds": ours,
        "virt_v2v_rounds": theirs,
    }


def seconds_of_virt_v2v(image: Path, target: Path) -> float:
    """How long one conversion takes."""
    target.mkdir()
    began = time.monotonic()
    command = ["virt-v2v", "-i", "disk", str(image), "-o", "local", "-os", str(target), "-of", "qcow2", "-on", GUEST]
    # As our own appliance is started: by itself, not through a libvirt daemon.
    accelerated = "force_kvm" if kvm_works() else "force_tcg"
    environment = {**os.environ, "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": accelerated}
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_SECONDS, env=environment)
    os.sync()
    seconds = round(time.monotonic() - began, 1)
    shutil.rmtree(target)
    return seconds


def seconds_of_isthmus(user: RestUser, ends: dict[str, str]) -> dict[str, float]:
    """How long a first copy and a deployment with morphing take, and each of their longer steps."""
    body = {
        "origin_endpoint_id": ends["from"],
        "destination_endpoint_id": ends["to"],
        "instances": [GUEST],
        "network_map": {},
        "clone_disks": True,
    }
    transfer = user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"]
    began = time.monotonic()
    copied = _executed(user, transfer)
    deployed = _deployed(user, {"transfer_id": transfer, "clone_disks": True})
    os.sync()
    found = {"seconds": round(time.monotonic() - began, 1), **_steps(copied["tasks"]), **_steps(deployed["tasks"])}
    made = user.made("POST", f"/transfers/{transfer}/actions", {"delete-disks": None})["execution"]["id"]
    user.ended(f"/transfers/{transfer}/executions/{made}", "execution", LIMIT_SECONDS)
    return found


def _steps(tasks: list[dict[str, Any]]) -> dict[str, float]:
    """Return the seconds of the longer steps: each begins when the one before has ended."""
    done = [task for task in tasks if task["status"] == "COMPLETED"]
    ends = [datetime.fromisoformat(task["updated_at"]) for task in done]
    took = {
        task["task_type"]: (end - begun).total_seconds()
        for task, end, begun in zip(done[1:], ends[1:], ends, strict=False)
    }
    return {step: round(seconds, 1) for step, seconds in took.items() if seconds >= LONG_STEP_SECONDS}


def _executed(user: RestUser, transfer: str, **wishes: Any) -> dict[str, Any]:
    made = user.made("POST", f"/transfers/{transfer}/executions", {"execution": wishes})["execution"]["id"]
    ended = user.ended(f"/transfers/{transfer}/executions/{made}", "execution", LIMIT_SECONDS)
    assert ended["status"] == "COMPLETED", ended
    return ended


def _deployed(user: RestUser, wishes: dict[str, Any]) -> dict[str, Any]:
    made = user.made("POST", "/deployments", {"deployment": wishes})["deployment"]["id"]
    ended = user.ended(f"/deployments/{made}", "deployment", LIMIT_SECONDS)
    assert ended["last_execution_status"] == "COMPLETED", ended
    return ended


# -- down time ---------------------------------------------------------------------------------------------------------


class DownTime:
    """Moves of the tiny guest with a data disk of so many MiB, of which a share changes before the last pass."""

    def __init__(self, user: RestUser, east: LibvirtCloud, west: LibvirtCloud, data_mib: int) -> None:
        self._user, self._east, self._west = user, east, west
        self._data_mib = data_mib
        self._templates = build_disks(east.directory / "templates", TinyGuest(format="qcow2"), name="guest")
        self._ends = []
        for cloud in (east, west):
            body = {"name": cloud.name, "type": "libvirt", "connection_info": cloud.connection}
            self._ends.append(user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]["id"])

    def measured(self, share: float) -> dict[str, float]:
        """Seconds without the machine, and what they went to."""
        name = f"down{share:.0%}".replace("%", "")
        self._define(name)
        with Console(self._east, name) as console:
            transfer = self._transfer(name)
            _executed(self._user, transfer)
            console.wait_for("GUEST-UP", LIMIT_SECONDS)
            self._change(name, round(self._data_mib * share))
            last = _executed(self._user, transfer, shutdown_instances=True)
        ended = _deployed(self._user, {"transfer_id": transfer, "clone_disks": False, "skip_os_morphing": True})
        result = ended["transfer_result"][name]
        copied = next(task["result"] for task in last["tasks"] if task["task_type"] == "REPLICATE_DISKS")
        booting = float((result["probe"] or {}).get("seconds") or 0.0)
        whole = float(result["downtime_seconds"])
        with closing(self._west.connect()) as connection:
            connection.lookupByName(name).destroy()
        return {
            "down_seconds": round(whole, 1),
            "of_which_booting_seconds": round(booting, 1),
            "all_but_booting_seconds": round(whole - booting, 1),
            "last_pass_seconds": round(float(copied["seconds"]), 2),
            "last_pass_sent_mib": round(float(copied["bytes_sent"]) / MIB, 1),
        }

    def _define(self, name: str) -> None:
        disks = []
        for number, template in enumerate(self._templates):
            disks.append(self._east.pool_directory / f"{name}-{number}.qcow2")
            shutil.copyfile(template, disks[-1])
        data = self._east.pool_directory / f"{name}-data.qcow2"
        raw = data.with_suffix(".raw")
        with raw.open("wb") as file:
            for _ in range(self._data_mib):
                file.write(os.urandom(MIB))
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(data)], check=True)
        raw.unlink()
        with closing(self._east.connect()) as connection:
            connection.storagePoolLookupByName("default").refresh()
            connection.defineXML(domain_xml(name, [*disks, data], "qcow2")).create()

    def _transfer(self, name: str) -> str:
        probe = {"type": "console", "marker": "GUEST-UP", "timeout_seconds": 300}
        body = {
            "origin_endpoint_id": self._ends[0],
            "destination_endpoint_id": self._ends[1],
            "instances": [name],
            "network_map": {"default": "default"},
            "destination_environment": {"boot_probe": probe, "virt_type": "qemu"},
            "skip_os_morphing": True,
        }
        return str(self._user.made("POST", "/transfers", {"transfer": body})["transfer"]["id"])

    def _change(self, name: str, mib: int) -> None:
        """Write to the data disk as the guest would, spread over it, through the machine's own QEMU."""
        with closing(self._east.connect()) as connection:
            domain = connection.lookupByName(name)
            step = self._data_mib // mib
            for number in range(mib):
                pattern = zlib.crc32(f"{name} {number}".encode()) % 251 + 1
                write = f"write -P {pattern} {number * step}M 1M"
                command = f'qemu-io -d /machine/peripheral/virtio-disk1/virtio-backend "{write}"'
                said = libvirt_qemu.qemuMonitorCommand(
                    domain, command, libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
                )
                if said.strip():
                    raise RuntimeError(f"the data disk of {name} was not written: {said}")


# -- the death of a worker ---------------------------------------------------------------------------------------------


def death_of_a_worker() -> dict[str, Any]:
    """A worker is killed in the midst of a first copy, and of an increment: recovery, and what was sent again."""
    kills = [Kill("worker", "full", chaos.COPY, 0.5), Kill("worker", "increment", chaos.COPY, 0.5)]
    with tempfile.TemporaryDirectory() as name:
        facts = chaos.run(kills, 1, Path(name) / "report.json")
    return {
        each["kill"]: {
            "outcome": each["outcome"],
            "recovery_seconds": each["recovery_seconds"],
            "mib_sent_again": round(each["bytes_resent"] / MIB, 1),
        }
        for each in facts["rounds"]
    }
