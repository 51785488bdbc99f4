"""The durable heart alone: real MariaDB and Temporal, a real conductor and worker, and two simulated clouds.

For tests that must see what the engine does when a cloud fails or a service is killed, in seconds.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import select

from isthmus.control import outbox
from isthmus.control.configuration import load
from isthmus.control.database import Database, utc_now
from isthmus.control.migrations import upgrade
from isthmus.migration.model import ACTIVE, ExecutionStatus, ExecutionType
from isthmus.migration.store import reading, requests, retrying
from isthmus.migration.store.requests import WORKFLOWS
from isthmus.migration.tables import DeploymentRow, EndpointRow, ExecutionRow, TaskRow, TransferRow
from lab import cloud_files
from lab.control_plane import ISTHMUS, ControlPlane

MIB = 1 << 20
PROJECT = "p"


class EngineRoom:
    """A context manager. The services are this object's own child processes and end with it.

    `more` are lines for the services' configuration.
    """

    def __init__(self, more: str = "") -> None:
        self._more = more
        self.plane = ControlPlane(only=("mariadb", "temporal"))
        self.root = Path(tempfile.mkdtemp(prefix="/tmp/engine-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._frozen: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.plane.start()
            text = self.plane.configuration.read_text()
            self.configuration = self.root / "isthmus.conf"
            self.configuration.write_text(
                f"{text}\n[conductor]\ndispatch_interval = 0.05\nprogress_interval = 0.3\n{self._more}\n"
            )
            self.conf = load(["--config-file", str(self.configuration)])
            upgrade(self.conf.database.connection)
            self.database = Database(self.conf.database.connection)
            for name in ("conductor", "worker"):
                self.start(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything and remove all files."""
        try:
            for process in self._frozen:
                process.kill()
                process.wait()
            for name in list(self._processes):
                self.stop(name)
            for cloud in self.root.glob("clouds/*"):
                cloud_files.end_cloud(cloud)
            if hasattr(self, "database"):
                self.database.close()
        finally:
            self.plane.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def start(self, name: str, more: str = "") -> None:
        """Start `conductor`, `worker` or `api` and wait until it serves; `more` are lines for its own configuration.

        Another of a kind is `worker@anything`.
        """
        own = self.root / f"{name}.conf"
        own.write_text(more)
        config = ["--config-file", str(self.configuration), "--config-file", str(own)]
        command = {
            "api": [ISTHMUS, "api", *config],
            "conductor": [ISTHMUS, "conductor", *config],
            "worker": [sys.executable, "-m", "lab.file_worker", *config],
        }[name.partition("@")[0]]
        ready = self.root / f"{name}.ready"
        ready.unlink(missing_ok=True)
        with (self.root / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "ISTHMUS_READY_FILE": str(ready)}
            )
        self.wait(lambda: ready.exists() or self._processes[name].poll() is not None, f"{name} ready", 120)
        if not ready.exists():
            raise RuntimeError(f"{name} did not start:\n{self.log(name)}")

    def stop(self, name: str) -> int:
        """Stop a service as an operator does and return its exit status."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            return process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def kill(self, name: str) -> None:
        """Kill a service without warning."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def freeze(self, name: str) -> subprocess.Popen[bytes]:
        """Stop a service's process where it stands (SIGSTOP) and return it."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGSTOP)
        self._frozen.append(process)
        return process

    def thaw(self, process: subprocess.Popen[bytes]) -> None:
        """Let a frozen process go on for some seconds, then end it as an operator does."""
        process.send_signal(signal.SIGCONT)
        time.sleep(2)
        process.terminate()
        process.wait(30)

    def pid(self, name: str) -> int:
        """Return a service's process id."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """Return what a service has logged."""
        return (self.root / f"{name}.log").read_text()

    def runs(self, name: str) -> bool:
        """Whether a service was started and neither stopped nor killed since."""
        return name in self._processes

    def wait(self, condition: Callable[[], Any], what: str, limit: float = 60) -> Any:
        """Wait until the condition is true and return it; TimeoutError shows the logs."""
        deadline = time.monotonic() + limit
        while not (found := condition()):
            if time.monotonic() > deadline:
                logs = "\n".join(self.log(name)[-3000:] for name in self._processes)
                raise TimeoutError(f"no {what} after {limit} s\n{logs}")
            time.sleep(0.05)
        return found

    def move(self, *, machines: int = 1, disks: int = 1, size: int = 4 * MIB, **wishes: Any) -> "Move":
        """Return a transfer of new machines between two new clouds."""
        return Move(self, machines, disks, size, wishes)


class Move:
    """One transfer with its clouds, driven as the API does: rows and outbox entries."""

    def __init__(self, room: EngineRoom, machines: int, disks: int, size: int, wishes: dict[str, Any]) -> None:
        self.room = room
        self.id = str(uuid.uuid4())
        self.instances = [f"machine{number}" for number in range(machines)]
        home = room.root / "clouds"
        self.source, self.destination = home / f"{self.id[:6]}s", home / f"{self.id[:6]}d"
        for cloud in (self.source, self.destination):
            cloud_files.make_cloud(cloud)
        for name in self.instances:
            ids = [f"disk{number}" for number in range(disks)]
            cloud_files.make_machine(self.source, name, [(disk, f"{name}-{disk}.raw", size) for disk in ids])
            for disk in ids:
                with (self.source / "disks" / f"{name}-{disk}.raw").open("wb") as file:
                    file.write(os.urandom(size // 2))
                    file.truncate(size)
        self._add(wishes)

    def _add(self, wishes: dict[str, Any]) -> None:
        now = utc_now()
        ends = {}
        with self.room.database.transaction() as session:
            for cloud in (self.source, self.destination):
                secret = cloud / "secret.json"
                secret.write_text(json.dumps({"root": str(cloud), "password": "swordfish"}))
                ends[cloud] = str(uuid.uuid4())
                session.add(
                    EndpointRow(
                        id=ends[cloud],
                        project_id=PROJECT,
                        user_id="u",
                        name=cloud.name,
                        type="files",
                        connection_info={"secret_ref": str(secret)},
                        mapped_regions=[],
                        created_at=now,
                    )
                )
            session.flush()
            facts = {
                "scenario": "replica",
                "source_environment": {},
                "destination_environment": {},
                "network_map": {"lan": "lan"},
                "storage_mappings": {},
                "skip_os_morphing": True,
                "info": {},
            }
            session.add(
                TransferRow(
                    id=self.id,
                    project_id=PROJECT,
                    user_id="u",
                    origin_endpoint_id=ends[self.source],
                    destination_endpoint_id=ends[self.destination],
                    instances=self.instances,
                    created_at=now,
                    **{**facts, **wishes},
                )
            )
        self.endpoints = {"source": ends[self.source], "destination": ends[self.destination]}

    def begin(self, kind: ExecutionType = ExecutionType.TRANSFER_EXECUTION, action: str = "", **wishes: Any) -> str:
        """Accept an execution as the API does and return its id."""
        run_id = str(uuid.uuid4())
        now = utc_now()
        with self.room.database.transaction() as session:
            action_id = action or self.id
            number = len(session.scalars(select(ExecutionRow.id).where(ExecutionRow.action_id == action_id)).all()) + 1
            session.add(
                ExecutionRow(
                    id=run_id,
                    action_id=action_id,
                    project_id=PROJECT,
                    type=kind,
                    status=ExecutionStatus.RUNNING,
                    number=number,
                    created_at=now,
                    **wishes,
                )
            )
            outbox.start(
                session,
                workflow=WORKFLOWS[kind],
                workflow_id=f"execution-{run_id}",
                argument={"execution_id": run_id, "trust_id": None},
                now=now,
            )
        return run_id

    def begin_deployment(self, *, hold_on_error: bool = False, **wishes: Any) -> str:
        """Accept a deployment as the API does and return its execution's id."""
        deployment_id = str(uuid.uuid4())
        facts = {"clone_disks": True, "skip_os_morphing": True, "instances": self.instances}
        with self.room.database.transaction() as session:
            session.add(
                DeploymentRow(
                    id=deployment_id,
                    project_id=PROJECT,
                    user_id="u",
                    transfer_id=self.id,
                    info={},
                    created_at=utc_now(),
                    **{**facts, **wishes},
                )
            )
        return self.begin(ExecutionType.DEPLOYMENT, deployment_id, hold_on_error=hold_on_error)

    def cancel(self, execution_id: str, *, force: bool = False, keep: bool = False) -> None:
        """Have an execution cancelled as the API does."""
        now = utc_now()
        with self.room.database.transaction() as session:
            row = session.get_one(ExecutionRow, execution_id)
            row.status = ExecutionStatus.CANCELLING
            outbox.cancel(session, workflow_id=f"execution-{execution_id}", force=force, keep=keep, now=now)

    def reconnect(self, side: str) -> None:
        """Give the endpoint of a side other connection details as the API does; the old ones are gone then."""
        with self.room.database.transaction() as session:
            row = session.get_one(EndpointRow, self.endpoints[side])
            old = Path(row.connection_info["secret_ref"])
            new = old.with_name(f"secret-{uuid.uuid4().hex[:8]}.json")
            new.write_text(old.read_text())
            row.connection_info = {"secret_ref": str(new)}
        old.unlink()

    def execution(self, execution_id: str) -> ExecutionRow:
        """Return an execution's row with its tasks and their events."""
        with self.room.database.transaction() as session:
            row = session.get_one(ExecutionRow, execution_id)
            for task in row.tasks:
                assert task.events is not None
                assert task.progress_updates is not None
            return row

    def ended(self, execution_id: str, limit: float = 60) -> ExecutionRow:
        """Wait until an execution has ended and return it."""
        self.room.wait(lambda: self.execution(execution_id).status not in ACTIVE, f"end of {execution_id}", limit)
        return self.execution(execution_id)

    def task(self, execution_id: str, task_type: str, instance: str = "machine0") -> TaskRow:
        """Return one task."""
        tasks = self.execution(execution_id).tasks
        return next(task for task in tasks if task.task_type == task_type and task.instance == instance)

    def running(self, execution_id: str, task_type: str, status: str = "RUNNING") -> None:
        """Wait until a step runs (or has another status)."""

        def reached() -> bool:
            tasks = self.execution(execution_id).tasks
            return any(task.task_type == task_type and task.status == status for task in tasks)

        self.room.wait(reached, f"{task_type} {status}")

    def called(self, side: Path, method: str) -> None:
        """Wait until a simulated cloud was called."""
        self.room.wait(lambda: method in cloud_files.calls(side), f"call of {method}")

    def info(self, instance: str = "machine0") -> dict[str, Any]:
        """Return what the transfer knows of an instance."""
        with self.room.database.transaction() as session:
            known: dict[str, Any] = session.get_one(TransferRow, self.id).info.get(instance) or {}
            return known

    def deployment(self, execution_id: str) -> DeploymentRow:
        """Return the deployment of an execution."""
        with self.room.database.transaction() as session:
            return session.get_one(DeploymentRow, session.get_one(ExecutionRow, execution_id).action_id)

    def power(self, instance: str = "machine0") -> str:
        """Return the source machine's power state."""
        return str(json.loads((self.source / "machines" / f"{instance}.json").read_text())["power"])

    def same_disks(self) -> bool:
        """Whether each replica's disk holds what its source's disk holds."""
        for instance in self.instances:
            for disk in self.info(instance)["disks"]:
                here = (self.source / "disks" / f"{instance}-{disk['disk_id']}.raw").read_bytes()
                if here != (self.destination / "disks" / disk["volume_id"]).read_bytes():
                    return False
        return True


def retried(move: Move, execution_id: str) -> str:
    """Accept a retry of an execution as the API does and return the new execution's id."""
    run = ExecutionRow(id=str(uuid.uuid4()), action_id=move.id, project_id=PROJECT, tasks=[], created_at=utc_now())
    with move.room.database.transaction() as session:
        transfer = requests.claim_transfer(session, PROJECT, move.id)
        row = reading.execution(session, PROJECT, move.id, execution_id)
        return retrying.retry_execution(session, transfer, row, run, None).id
