"""`make demo`: a running machine is moved to another cloud and home again and proved to be the same.

Then a share and a network are shown.

Two libvirt clouds that know nothing of each other, one control plane, one Debian guest that is tied to its cloud and
keeps writing. Everything lives in one state directory (ISTHMUS_DEMO_STATE, /var/lib/isthmus/demo) and is stopped at
the end; the guest's image and the control plane's data stay, so that the next run is fast.
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from lab import debian_guest
from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.control_plane import ControlPlane
from lab.crossing import BOOT_SECONDS, GUEST, Crossing, cross, define_guest, register
from lab.looking_around import look_ahead, look_back
from lab.network_demo import NetworkShown
from lab.network_demo import show as show_network
from lab.share_demo import ShareShown
from lab.share_demo import show as show_share

REPORT = Path("build/demo-report.json")
WEST_MACHINES: dict[str, Any] = {"machine_type": "q35", "disk_bus": "virtio"}
EAST_MACHINES: dict[str, Any] = {"machine_type": "pc", "disk_bus": "scsi", "name_suffix": "-home"}

_begun = time.monotonic()


def say(text: str) -> None:
    """Print one line with the minutes and seconds since the start."""
    minutes, seconds = divmod(int(time.monotonic() - _begun), 60)
    print(f"[{minutes:2d}:{seconds:02d}] {text}", flush=True)


def run(state: Path) -> tuple[dict[str, Crossing], ShareShown, NetworkShown]:
    """Do the whole demonstration in `state`; return both directions, and what was seen of a share and a network."""
    say("guest: a small Debian 12, tied to its cloud (built once, about a minute)")
    image = debian_guest.cached_image()
    with contextlib.ExitStack() as stack:
        say("clouds: two libvirt daemons, east and west, each with its own state")
        clouds = []
        for name in ("east", "west"):
            directory = state / name
            shutil.rmtree(directory, ignore_errors=True)
            stack.callback(shutil.rmtree, directory, ignore_errors=True)
            clouds.append(stack.enter_context(LibvirtCloud(name, directory)))
        east, west = clouds
        say(f"guest: started in east; its first boot is under emulation and takes a while ({GUEST})")
        define_guest(east, image)
        console = stack.enter_context(contextlib.closing(contextlib.ExitStack()))
        first_boot = console.enter_context(Console(east, GUEST))
        say("control plane: isthmus up (MariaDB, Keystone, Barbican, Temporal, Isthmus, NFS-Ganesha, Samba)")
        plane = stack.enter_context(ControlPlane(state / "control"))
        demo = plane.demo_environment
        run_id = time.strftime("%Y%m%d-%H%M%S")
        names = {"east": f"east-{run_id}", "west": f"west-{run_id}"}
        register(demo, names["east"], east)
        register(demo, names["west"], west)
        first_boot.wait_for(r"GUEST-UP", BOOT_SECONDS)
        say(f"guest: up and writing: {first_boot.last('GUEST-UP').string.strip()}")
        console.close()

        look_ahead(demo, say, machine=GUEST, source=names["east"], destination=names["west"])
        say("there: isthmus migrate, east to west (q35, virtio-blk)")
        there = cross(
            demo,
            machine=GUEST,
            source=(names["east"], east),
            destination=names["west"],
            destination_environment=WEST_MACHINES,
            watch=True,
        )
        say(f"there: {there.records_written} records written, {there.records_lost} lost")
        look_back(demo, say, deployment=there.deployment)
        say("home: isthmus migrate, west to east (i440FX, virtio-scsi)")
        home = cross(
            demo,
            machine=there.machine,
            source=(names["west"], west),
            destination=names["east"],
            destination_environment=EAST_MACHINES,
            watch=True,
        )
        say(f"home: {home.records_written} records written, {home.records_lost} lost")
        share = show_share(plane, say)
        say("stopping everything")
    return {"there": there, "home": home}, share, show_network(say)


def main() -> int:
    """Run the demonstration, write its report, and return the exit code."""
    state = Path(os.environ.get("ISTHMUS_DEMO_STATE", "/var/lib/isthmus/demo"))
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"demo: another one runs in {state}; wait for it, or set ISTHMUS_DEMO_STATE", file=sys.stderr)
            return 1
        directions, share, network = run(state)
    report: dict[str, Any] = {name: dataclasses.asdict(crossing) for name, crossing in directions.items()}
    report["share"] = dataclasses.asdict(share)
    report["network"] = dataclasses.asdict(network)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say(f"report: {REPORT}")
    moved = all(crossing.verified and crossing.morphing_changes for crossing in directions.values())
    passed = moved and share.passed and network.passed
    print(
        "demo: passed"
        if passed
        else "demo: FAILED: records were lost or not verified, or a share or network did not hold; see the report"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
