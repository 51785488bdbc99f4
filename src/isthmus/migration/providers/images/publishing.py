"""The machine that a deployment makes: a directory with its images, an OVF and a libvirt descriptor.

It appears by one rename, whole. Which deployment made it is written in it; no directory without that mark is touched.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from isthmus.control.errors import NotFound
from isthmus.migration.machine import (
    BootProbe,
    DeployedMachine,
    DestinationDisk,
    Machine,
    NicMapping,
    ProbeResult,
    ProbeType,
)
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.images import descriptors
from isthmus.migration.providers.images.descriptors import Hardware, Placed
from isthmus.migration.providers.images.formats import ImageFormat
from isthmus.migration.providers.images.replicas import Replicas

MARK = ".isthmus.json"


@dataclass(frozen=True)
class Mark:
    """Who made a machine's directory; `volumes` are the hidden names of its files, by the files' names."""

    deployment: str
    machine: str
    volumes: dict[str, str]


def create_machine(
    replicas: Replicas,
    deployment_id: str,
    *,
    machine: Machine,
    environment: Environment,
    disks: Sequence[DestinationDisk],
    nics: Sequence[NicMapping],
    is_taken: Callable[[str], bool] = lambda _: False,
) -> DeployedMachine:
    """Make the machine's directory. Already done: this deployment's is there.

    `is_taken` tells of names that are used elsewhere.
    """
    for place, mark in made(replicas.root):
        if (mark.deployment, mark.machine) == (deployment_id, machine.name):
            return _deployed(place)
    free = _file_name(machine.name + str(environment.get("name_suffix") or ""))
    taken = (replicas.root / free).exists() or is_taken(free)
    name = f"{free}-{_short(deployment_id)}" if taken else free
    building = replicas.hidden / f"machine-{_short(deployment_id, machine.name)}"
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o755)
    placed = [_place(replicas, building, number, disk) for number, disk in enumerate(disks)]
    wanted = Hardware(str(environment.get("disk_bus") or "virtio"), str(environment.get("nic_model") or "virtio"))
    place = replicas.root / name
    volumes = {each.file: disk.volume_id for each, disk in zip(placed, disks, strict=True)}
    _write(building / f"{name}.ovf", descriptors.ovf(machine, name, placed, nics, wanted))
    _write(building / f"{name}.xml", descriptors.libvirt(machine, place, placed, nics, wanted))
    _write(building / MARK, json.dumps(asdict(Mark(deployment_id, machine.name, volumes))).encode())
    _sync_directory(building)
    building.rename(place)
    _sync_directory(replicas.root)
    return _deployed(place)


def boot_machine(replicas: Replicas, deployed: DeployedMachine, probe: BootProbe) -> ProbeResult:
    """Let go of the hidden names of the machine's images: from here on they are its own. Nothing is started."""
    place = replicas.root / deployed.name
    mark = read_mark(place)
    if mark is None:
        raise NotFound(f"machine {deployed.name} is not in {replicas.root}; deploy it again")
    if probe.type is not ProbeType.NONE:
        return ProbeResult(False, f"nothing runs here that {probe.type} could be asked of: set its type to none", 0.0)
    for volume in mark.volumes.values():
        (replicas.root / volume).unlink(missing_ok=True)
    return ProbeResult(True, "the images and their descriptors are complete; nothing is started here", 0.0)


def delete_machine(replicas: Replicas, deployment_id: str, machine_name: str) -> None:
    """Remove the deployment's directory; its disks get their hidden names back. Already done: it is gone."""
    for place, mark in made(replicas.root):
        if mark.deployment != deployment_id or machine_name not in (mark.machine, place.name):
            continue
        for file, volume in mark.volumes.items():
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                os.link(place / file, replicas.root / volume)
        going = replicas.hidden / f"machine-{_short(deployment_id, mark.machine)}"
        shutil.rmtree(going, ignore_errors=True)
        place.rename(going)
    shutil.rmtree(replicas.hidden / f"machine-{_short(deployment_id, machine_name)}", ignore_errors=True)


def made(root: Path) -> list[tuple[Path, Mark]]:
    """Return the directories of machines that deployments have made below `root`, with their marks."""
    found = [(place, read_mark(place)) for place in sorted(root.iterdir()) if place.is_dir() and not place.is_symlink()]
    return [(place, mark) for place, mark in found if mark is not None]


def read_mark(place: Path) -> Mark | None:
    """Return a directory's mark; None if it is none of ours."""
    try:
        return parse_mark((place / MARK).read_text())
    except OSError:
        return None


def parse_mark(text: str) -> Mark | None:
    """Return what a mark's file says; None if it is none."""
    try:
        facts = json.loads(text)
        return Mark(str(facts["deployment"]), str(facts["machine"]), dict(facts["volumes"]))
    except (ValueError, KeyError, TypeError):
        return None


def _place(replicas: Replicas, building: Path, number: int, disk: DestinationDisk) -> Placed:
    image = replicas.image(disk)
    file = f"disk{number + 1}.{disk.format}"
    os.link(image.path, building / file)
    return Placed(f"disk{number + 1}", file, ImageFormat(disk.format), disk.size_bytes, image.length)


def _deployed(place: Path) -> DeployedMachine:
    return DeployedMachine(f"{place.name}/{place.name}.ovf", place.name, {"directory": str(place)})


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._ -]", "_", name).strip(". ")[:200] or "machine"


def _short(*parts: str) -> str:
    return hashlib.blake2s("\0".join(parts).encode(), digest_size=4).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
