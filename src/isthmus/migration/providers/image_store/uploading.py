"""A deployed machine goes from the worker's staging directory to its place, and back if its deployment is undone.

In an object store it is a directory of objects: images, descriptors and, last of all, the mark that says whose it is
and that all of it is there. In Glance each disk is an image with the machine's facts as properties, and no mark is
needed: an image is usable when it is whole.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isthmus.migration.machine import DeployedMachine, DestinationDisk, Firmware, Machine
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.image_store.contract import Part, Store, Stored
from isthmus.migration.providers.image_store.glance import DEPLOYMENT, KEY, MACHINE, VOLUME, GlanceStore
from isthmus.migration.providers.image_store.staging import fetch
from isthmus.migration.providers.images import publishing
from isthmus.migration.providers.images.formats import ENDINGS
from isthmus.migration.providers.images.replicas import HIDDEN, Replicas
from isthmus.migration.reporting import Level, Progress, Report

_GIB = 1 << 30
_HARDWARE = ("hw_disk_bus", "hw_vif_model", "hw_firmware_type", "os_type")
_CLONE = f"{HIDDEN}/clone-"


def upload(store: Store, replicas: Replicas, deployed: DeployedMachine, report: Report) -> None:
    """Put the machine's directory into its place and forget it here. Already done: it is there, and none is here."""
    place = replicas.root / deployed.name
    mark = publishing.read_mark(place)
    if mark is None:
        return
    parts = _parts(store, place, mark, deployed.details)
    total, done = sum(part.file.stat().st_size for part in parts), 0

    def watch(count: int) -> None:
        nonlocal done
        report.check()
        done += count
        report.progress(Progress(f"upload {deployed.name}", done, total))

    for part in parts:
        store.put(part, watch)
    report.event(Level.INFO, f"{deployed.name} is in {store.label}: {total} bytes")
    for volume in mark.volumes.values():
        (replicas.root / volume).unlink(missing_ok=True)
    shutil.rmtree(place)


def is_there(store: Store, name: str) -> bool:
    """Return whether a machine of this name is in the place, ours or not."""
    if isinstance(store, GlanceStore):
        return any(each.facts and each.facts.name == name for each in store.listing())
    return any(each.key.startswith(f"{name}/") for each in store.listing())


def find(store: Store, name: str) -> Stored | None:
    """Return the object by which an uploaded machine of this name is found; None if it is not there, or not whole."""
    listed = {each.key: each for each in store.listing()}
    if isinstance(store, GlanceStore):
        return next((listed[each["id"]] for each in store.ours(KEY, _key(name, 1)) if each["id"] in listed), None)
    return listed.get(f"{name}/{name}.ovf") if f"{name}/{publishing.MARK}" in listed else None


def withdraw(store: Store, replicas: Replicas, deployment_id: str, machine_name: str, report: Report) -> None:
    """Take a deployment's machine out of its place; the replica's own disks come back. Already done: it is gone.

    So does what is there of one whose upload was cut short: its directory is still here.
    """
    for files, mark in _uploaded(store, deployment_id, machine_name):
        for file, volume in mark.volumes.items():
            target = replicas.hidden / Path(volume).name
            if file in files and not volume.startswith(_CLONE) and not target.exists():
                fetch(store, files[file], target, report)
        for stored in sorted(files.values(), key=lambda each: each.key.endswith(publishing.MARK)):
            store.delete(stored.key)
    if isinstance(store, GlanceStore):
        return
    for place, mark in publishing.made(replicas.root):
        if mark.deployment == deployment_id and machine_name in (mark.machine, place.name):
            for file in sorted(each.name for each in place.iterdir()):
                store.delete(f"{place.name}/{file}")


def _parts(store: Store, place: Path, mark: publishing.Mark, facts: Mapping[str, str]) -> Sequence[Part]:
    """Return the directory's files as objects: descriptors and images, then the mark."""
    if isinstance(store, GlanceStore):
        return [
            Part(place / file, _key(place.name, number), _properties(place, mark, number, facts))
            for number, file in enumerate(mark.volumes, 1)
        ]
    files = sorted(each.name for each in place.iterdir() if each.name != publishing.MARK)
    return [Part(place / file, f"{place.name}/{file}") for file in (*files, publishing.MARK)]


def _properties(place: Path, mark: publishing.Mark, number: int, facts: Mapping[str, str]) -> dict[str, Any]:
    file, volume = list(mark.volumes.items())[number - 1]
    size = int(facts["sizes"].split(",")[number - 1])
    return {
        "name": place.name if number == 1 else f"{place.name}-disk{number}",
        "disk_format": ENDINGS[Path(file).suffix].value,
        "min_disk": -(-size // _GIB),
        "min_ram": int(facts["memory_mb"]),
        DEPLOYMENT: mark.deployment,
        MACHINE: mark.machine[:255],
        VOLUME: volume,
        **{key: value for key, value in facts.items() if key in _HARDWARE},
    }


def _uploaded(
    store: Store, deployment_id: str, machine_name: str
) -> Sequence[tuple[dict[str, Stored], publishing.Mark]]:
    """Return a deployment's machines in the place: their objects by file name, and their marks."""
    listed = store.listing()
    if isinstance(store, GlanceStore):
        return _uploaded_images(store, listed, deployment_id, machine_name)
    found = []
    for each in listed:
        directory, _, file = each.key.rpartition("/")
        if file != publishing.MARK or each.size > 1 << 20:
            continue
        mark = publishing.parse_mark(store.read(each.key, 0, each.size).decode(errors="replace"))
        if mark and mark.deployment == deployment_id and machine_name in (mark.machine, directory):
            inside = {one.key.rpartition("/")[2]: one for one in listed if one.key.startswith(f"{directory}/")}
            found.append((inside, mark))
    return found


def _uploaded_images(
    store: GlanceStore, listed: Sequence[Stored], deployment_id: str, machine_name: str
) -> Sequence[tuple[dict[str, Stored], publishing.Mark]]:
    whole = {each.key: each for each in listed}
    files, volumes = {}, {}
    for image in store.ours(DEPLOYMENT, deployment_id):
        if machine_name[:255] not in (image.get(MACHINE), str(image.get(KEY)).rpartition("/")[0]):
            continue
        key = str(image["id"])
        if key in whole:
            files[key], volumes[key] = whole[key], str(image.get(VOLUME))
        else:
            store.delete(key)  # it was cut short
    return [(files, publishing.Mark(deployment_id, machine_name, volumes))] if files else []


def _key(name: str, number: int) -> str:
    return f"{name}/disk{number}"


def facts_of(machine: Machine, environment: Environment, disks: Sequence[DestinationDisk]) -> dict[str, str]:
    """Return what an image's properties say of the machine that it is for, for a deployed machine's details."""
    return {
        "sizes": ",".join(str(disk.size_bytes) for disk in disks),
        "memory_mb": str(machine.memory_mb),
        "hw_disk_bus": str(environment.get("disk_bus") or "virtio"),
        "hw_vif_model": str(environment.get("nic_model") or "virtio"),
        "hw_firmware_type": "uefi" if machine.firmware is Firmware.EFI else "bios",
        "os_type": machine.os_type,
    }
