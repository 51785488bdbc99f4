"""A simulator of a cloud: machines and disks are files in one directory, disks are served by real qemu-nbd processes.

It obeys `isthmus.migration.providers.contract`, knows no dirty bitmaps (increments come from hash maps), and does what
a test asks of it: `settings.json` says how much space is free, whether machines boot, and which methods fail or wait.
`calls.log` says what was called. Nothing runs inside its machines.

    root/settings.json   {"free_bytes", "boots", "fail": {method: error code}, "hold": [method…]}
    root/machines/NAME.json, root/disks/*.raw     machines, theirs disks, replicas, clones
    root/readings/  root/exports/                 what is open now
"""

import json
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from isthmus.control.errors import IsthmusError, NotFound, StepFailed, Unavailable
from isthmus.migration.machine import (
    BootProbe,
    Capacity,
    DeployedMachine,
    DestinationDisk,
    DiskMapping,
    EnvironmentOption,
    Machine,
    Network,
    NicMapping,
    PowerState,
    ProbeResult,
    StorageBackend,
)
from isthmus.migration.providers.contract import (
    Capability,
    ChangeSource,
    DestinationProvider,
    Environment,
    ExportedDisk,
    Reading,
    SourceProvider,
)
from isthmus.migration.providers.premises import NOTHING, Premises
from isthmus.migration.reporting import Level, Report
from lab.cloud_files import copy, end_server, is_served, machine_facts, make_machine, short, write_json

DEFAULTS: dict[str, Any] = {"free_bytes": 1 << 40, "boots": True, "fail": {}, "hold": [], "console": []}


class FileCloud(SourceProvider, DestinationProvider):
    """One directory as a cloud; `connection` is `{"root": directory, "password": any text}`."""

    platform: ClassVar[str] = "files"
    capabilities: ClassVar[Capability] = Capability.TRANSFER_IMPORT | Capability.TRANSFER_EXPORT | Capability.ENDPOINT

    def __init__(self, connection: Mapping[str, Any], premises: Premises = NOTHING) -> None:
        super().__init__(connection, premises)
        self.root = Path(connection["root"])

    @classmethod
    def connection_schema(cls) -> dict[str, Any]:
        """Root and password are required."""
        text = {"type": "string"}
        return {
            "type": "object",
            "properties": {"root": text, "password": text},
            "required": ["root", "password"],
            "additionalProperties": False,
        }

    def _begin(self, method: str, report: Report | None = None) -> None:
        """Note the call; then wait or fail as the test wants it."""
        with (self.root / "calls.log").open("a") as log:
            log.write(f"{method}\n")
        while method in self.settings["hold"]:
            time.sleep(0.05)
            if report is not None:
                report.check()
        code = self.settings["fail"].get(method)
        if code:
            kinds = {kind.code: kind for kind in _all_errors(IsthmusError)}
            raise kinds[code](f"{method} of the simulated cloud was told to fail; clear its settings and try again")

    @property
    def settings(self) -> dict[str, Any]:
        """What the test wants."""
        path = self.root / "settings.json"
        return {**DEFAULTS, **(json.loads(path.read_text()) if path.exists() else {})}

    def validate_connection(self) -> None:
        """Fail unless the directory is there."""
        self._begin("validate_connection")
        if not (self.root / "machines").is_dir():
            raise Unavailable(f"the simulated cloud {self.root} is not there; make it first")

    def list_machines(self, name_pattern: str | None = None) -> Sequence[Machine]:
        """Return all machines."""
        del name_pattern
        return [self.get_machine(path.stem) for path in sorted((self.root / "machines").glob("*.json"))]

    def get_machine(self, instance: str) -> Machine:
        """Return one machine."""
        return machine_facts(self._load(instance))

    def list_networks(self) -> Sequence[Network]:
        """There are two networks, `lan` and `alone`; their ids are `net-lan` and `net-alone`."""
        self._begin("list_networks")
        return [Network(f"net-{name}", name) for name in ("lan", "alone")]

    def list_storage(self) -> tuple[Sequence[StorageBackend], str | None]:
        """There is one storage, `disks`, and those that the settings name in addition (`storages`)."""
        names = ["disks", *self.settings.get("storages", [])]
        return [StorageBackend(name, name, self.settings["free_bytes"]) for name in names], "disks"

    # Source

    @classmethod
    def source_schema(cls) -> dict[str, Any]:
        """Anything goes."""
        return {"type": "object"}

    def source_options(self, environment: Environment) -> Sequence[EnvironmentOption]:
        """There are none."""
        del environment
        return []

    def validate_source(self, instance: str, environment: Environment) -> Machine:
        """Any machine can be replicated, but one whose name begins with `refused` or `surprising`."""
        del environment
        self._begin("validate_source")
        if instance.startswith("refused"):
            raise StepFailed(f"the simulated cloud does not replicate {instance}; choose another")
        if instance.startswith("surprising"):
            raise KeyError(instance)
        return self.get_machine(instance)

    def open_reading(
        self,
        transfer_id: str,
        instance: str,
        environment: Environment,
        *,
        point: str,
        since: str | None,
        report: Report,
    ) -> Reading:
        """Copy the disks aside and serve the copies; the copies are the point in time, and its checkpoint."""
        del environment
        self._begin("open_reading", report)
        machine = self._load(instance)
        directory = self.root / "readings" / short(transfer_id, instance) / point
        lost = since is not None and not (directory.parent / since).is_dir()
        changes = ChangeSource.ALLOCATION if since is None else ChangeSource.HASH_MAP
        if lost:
            report.event(Level.WARNING, "the checkpoint is lost: everything is compared")
        if not directory.exists():
            unfinished = directory.with_name(f"{point}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            for disk in machine["disks"]:
                copy(self.root / "disks" / disk["file"], unfinished / f"{disk['id']}.raw")
            unfinished.rename(directory)
        exported = []
        for disk in machine["disks"]:
            content = directory / f"{disk['id']}.raw"
            uri = self._serve(short(transfer_id, instance, "read", disk["id"]), content, writable=False)
            exported.append(ExportedDisk(disk["id"], uri, disk["size_bytes"], changes))
        return Reading(point, tuple(exported))

    def close_reading(self, transfer_id: str, instance: str, *, keep: str | None) -> None:
        """Stop serving and remove all copies but `keep`; of that one the name is enough."""
        self._begin("close_reading")
        directory = self.root / "readings" / short(transfer_id, instance)
        for disk in self._disk_ids(instance):
            self._stop_serving(short(transfer_id, instance, "read", disk))
        for point in list(directory.iterdir()) if directory.is_dir() else []:
            shutil.rmtree(point)
            if point.name == keep:
                point.mkdir()
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()

    def shut_down(self, instance: str, environment: Environment, report: Report) -> bool:
        """Write `off` into the machine's file."""
        del environment
        self._begin("shut_down", report)
        return self._power(instance, PowerState.OFF)

    def start(self, instance: str) -> None:
        """Write `running` into the machine's file."""
        self._begin("start")
        self._power(instance, PowerState.RUNNING)

    # Destination

    @classmethod
    def destination_schema(cls) -> dict[str, Any]:
        """Anything goes."""
        return {"type": "object"}

    def destination_options(self, environment: Environment) -> Sequence[EnvironmentOption]:
        """There are none."""
        del environment
        return []

    def capacity(self) -> Capacity:
        """Return what the settings say (`capacity`); the names are those of its machines."""
        names = tuple(path.stem for path in sorted((self.root / "machines").glob("*.json")))
        return Capacity(machines=names, **self.settings.get("capacity", {}))

    def validate_destination(
        self,
        transfer_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DiskMapping],
        nics: Sequence[NicMapping],
    ) -> None:
        """Compare the disks with the free space."""
        del transfer_id, environment, nics
        self._begin("validate_destination")
        wanted = sum(each.disk.size_bytes for each in disks)
        if wanted > self.settings["free_bytes"]:
            raise StepFailed(
                f"{machine.name} needs {wanted} bytes, storage disks has {self.settings['free_bytes']} free: make room"
            )

    def ensure_disks(
        self, transfer_id: str, instance: str, environment: Environment, disks: Sequence[DiskMapping]
    ) -> Sequence[DestinationDisk]:
        """Make sparse files."""
        del environment
        made = []
        for mapping in disks:
            path = self.root / "disks" / f"{short(transfer_id, instance, mapping.disk.id)}.raw"
            is_new = not path.exists()
            with path.open("ab") as file:
                file.truncate(mapping.disk.size_bytes)
            made.append(
                DestinationDisk(mapping.disk.id, path.name, mapping.disk.size_bytes, "raw", "disks", is_zero=is_new)
            )
        self._begin("ensure_disks")
        return made

    def adopt_machine(
        self, transfer_id: str, instance: str, machine: str, disks: Sequence[DiskMapping], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy the files of a machine that is off."""
        self._begin("adopt_machine", report)
        content = self._load(machine)
        if content["power"] != PowerState.OFF:
            raise StepFailed(f"machine {machine} of the simulated cloud runs: stop it first")
        made = []
        for mapping, disk in zip(disks, content["disks"], strict=True):
            path = self.root / "disks" / f"{short(transfer_id, instance, mapping.disk.id)}.raw"
            copy(self.root / "disks" / disk["file"], path)
            made.append(DestinationDisk(mapping.disk.id, path.name, disk["size_bytes"], "raw", "disks"))
        return made

    def delete_disks(self, disks: Sequence[DestinationDisk]) -> None:
        """Remove the files."""
        self._begin("delete_disks")
        for disk in disks:
            (self.root / "disks" / disk.volume_id).unlink(missing_ok=True)

    def open_writing(self, owner: str, disks: Sequence[DestinationDisk]) -> Sequence[ExportedDisk]:
        """Serve the files."""
        self._begin("open_writing")
        opened = []
        for disk in disks:
            uri = self._serve(f"w{short(owner)}-{short(disk.disk_id)}", self.root / "disks" / disk.volume_id)
            opened.append(ExportedDisk(disk.disk_id, uri, disk.size_bytes))
        return opened

    def close_writing(self, owner: str) -> None:
        """Stop serving."""
        self._begin("close_writing")
        for path in (self.root / "exports").glob(f"w{short(owner)}-*.pid"):
            self._stop_serving(path.stem)

    def clone_disks(
        self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk], report: Report
    ) -> Sequence[DestinationDisk]:
        """Copy the files."""
        self._begin("clone_disks", report)
        clones = []
        for disk in disks:
            name = f"{short(deployment_id, instance, disk.disk_id)}.raw"
            if not (self.root / "disks" / name).exists():
                copy(self.root / "disks" / disk.volume_id, self.root / "disks" / f"{name}.part")
                (self.root / "disks" / f"{name}.part").rename(self.root / "disks" / name)
            clones.append(DestinationDisk(disk.disk_id, name, disk.size_bytes, "raw", "disks"))
        return clones

    def delete_clones(self, deployment_id: str, instance: str, disks: Sequence[DestinationDisk]) -> None:
        """Remove the copies."""
        self._begin("delete_clones")
        for disk in disks:
            name = f"{short(deployment_id, instance, disk.disk_id)}.raw"
            for path in (self.root / "disks").glob(f"{name}*"):
                path.unlink()

    def create_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Copy the files aside."""
        self._begin("create_snapshots")
        for disk in disks:
            path = self.root / "disks" / f"{disk.volume_id}.{short(deployment_id)}.kept"
            if not path.exists():
                copy(self.root / "disks" / disk.volume_id, path)

    def restore_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Copy the files back."""
        self._begin("restore_snapshots")
        for disk in disks:
            path = self.root / "disks" / f"{disk.volume_id}.{short(deployment_id)}.kept"
            copy(path, self.root / "disks" / disk.volume_id)

    def delete_snapshots(self, deployment_id: str, disks: Sequence[DestinationDisk]) -> None:
        """Remove the copies."""
        self._begin("delete_snapshots")
        for disk in disks:
            (self.root / "disks" / f"{disk.volume_id}.{short(deployment_id)}.kept").unlink(missing_ok=True)

    def create_machine(
        self,
        deployment_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DestinationDisk],
        nics: Sequence[NicMapping],
    ) -> DeployedMachine:
        """Write a machine's file."""
        del environment, nics
        self._begin("create_machine")
        files = {disk.disk_id: disk.volume_id for disk in disks}
        content = [(disk.id, files[disk.id], disk.size_bytes) for disk in machine.disks]
        make_machine(self.root, machine.name, content, power=PowerState.OFF, deployment_id=deployment_id)
        return DeployedMachine(machine.name, machine.name)

    def boot_machine(self, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:
        """Say what the test wants."""
        del probe
        self._begin("boot_machine", report)
        self._power(deployed.id, PowerState.RUNNING)
        passed = bool(self.settings["boots"])
        return ProbeResult(passed, "the simulated console", 0.1, tuple(self.settings["console"]))

    def delete_machine(self, deployment_id: str, machine_name: str) -> None:
        """Remove the machine's file, if it is this deployment's."""
        self._begin("delete_machine")
        with suppress(NotFound):
            if self._load(machine_name).get("deployment_id") == deployment_id:
                (self.root / "machines" / f"{machine_name}.json").unlink()

    # Files and processes

    def _load(self, instance: str) -> dict[str, Any]:
        path = self.root / "machines" / f"{instance}.json"
        if not path.exists():
            raise NotFound(f"the simulated cloud has no machine {instance}: list its machines")
        loaded: dict[str, Any] = json.loads(path.read_text())
        return loaded

    def _disk_ids(self, instance: str) -> list[str]:
        with suppress(NotFound):
            return [disk["id"] for disk in self._load(instance)["disks"]]
        return []

    def _power(self, instance: str, power: PowerState) -> bool:
        content = self._load(instance)
        changed = bool(content["power"] != power)
        content["power"] = power
        write_json(self.root / "machines" / f"{instance}.json", content)
        return changed

    def _serve(self, name: str, file: Path, *, writable: bool = True) -> str:
        pid_file, socket = self.root / "exports" / f"{name}.pid", self.root / "exports" / f"{name}.sock"
        uri = f"nbd+unix:///?socket={socket}"
        if is_served(pid_file) and (self.root / "exports" / f"{name}.file").read_text() == str(file):
            return uri
        self._stop_serving(name)
        (self.root / "exports" / f"{name}.file").write_text(str(file))
        access = ["--discard=unmap"] if writable else ["--read-only"]
        served = ["qemu-nbd", "--fork", "--persistent", "--shared=16", f"--socket={socket}", f"--pid-file={pid_file}"]
        subprocess.run(
            [*served, "--format=raw", "--cache=writeback", *access, str(file)],
            check=True,
            capture_output=True,
            timeout=30,
        )
        return uri

    def _stop_serving(self, name: str) -> None:
        end_server(self.root / "exports" / f"{name}.pid")
        for suffix in ("pid", "sock", "file"):
            (self.root / "exports" / f"{name}.{suffix}").unlink(missing_ok=True)


def _all_errors(kind: type[IsthmusError]) -> list[type[IsthmusError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _all_errors(child))]
