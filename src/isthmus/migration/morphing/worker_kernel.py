"""The way in by the worker's own kernel: the parent's side of `enclosure`.

The chain unshare -> enclosure dies with the thread that opened it (PR_SET_PDEATHSIG), so a `GuestDisks` is used in the
one thread that entered it.
"""

import base64
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from isthmus.control.errors import IsthmusError, NotSupported, StepFailed, Unavailable
from isthmus.migration.morphing.contract import CommandResult, FileSystem, GuestDisks
from isthmus.migration.reporting import Report

_ERRORS: dict[str, type[IsthmusError]] = {kind.code: kind for kind in (NotSupported, StepFailed, Unavailable)}
_NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--mount-proc", "--fork", "--kill-child=KILL")
_CALL_SECONDS = 600
_CHECK_SECONDS = 2000
_POLL_SECONDS = 0.5


class WorkerKernelDisks(GuestDisks):
    """Disks opened in a child process with namespaces of its own."""

    def __init__(self, uris: Sequence[str], report: Report) -> None:
        """Nothing is started before the `with` statement."""
        self._uris = list(uris)
        self._report = report
        self._process: subprocess.Popen[str] | None = None
        self._replies: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read_replies)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "unshare", *_NAMESPACES),
                *(sys.executable, "-m", "isthmus.migration.morphing.enclosure"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read_replies, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        try:
            self._call("open", uris=self._uris)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._call("close")
        finally:
            self._kill()

    def read(self, path: str) -> str | None:
        """As `GuestDisks.read` has it."""
        answer = self._call("read", path=path)
        return None if answer is None else str(answer)

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        """As `GuestDisks.write` has it."""
        self._call("write", path=path, content=content, mode=mode)

    def remove(self, path: str) -> bool:
        """As `GuestDisks.remove` has it."""
        return bool(self._call("remove", path=path))

    def exists(self, path: str) -> bool:
        """As `GuestDisks.exists` has it."""
        return bool(self._call("exists", path=path))

    def download(self, path: str, destination: Path, largest: int) -> None:
        """As `GuestDisks.download` has it."""
        self._call("download", path=path, destination=str(destination.absolute()), largest=largest)

    def upload(self, source: Path, path: str) -> None:
        """As `GuestDisks.upload` has it."""
        self._call("upload", source=str(source.absolute()), path=path)

    def list_directory(self, path: str) -> Sequence[str]:
        """As `GuestDisks.list_directory` has it."""
        return list(self._call("list_directory", path=path))

    def link(self, path: str, target: str) -> None:
        """As `GuestDisks.link` has it."""
        self._call("link", path=path, target=target)

    def run(self, command: Sequence[str], *, timeout_seconds: int, stdin: str = "") -> CommandResult:
        """As `GuestDisks.run` has it."""
        answer = self._call(
            "run",
            timeout_seconds + _POLL_SECONDS * 60,
            command=list(command),
            timeout_seconds=timeout_seconds,
            stdin=stdin,
        )
        return CommandResult(**answer)

    def run_before_mount(self, script: str, *, timeout_seconds: int) -> CommandResult:
        """As `GuestDisks.run_before_mount` has it."""
        answer = self._call(
            "run_before_mount", timeout_seconds + _POLL_SECONDS * 60, script=script, timeout_seconds=timeout_seconds
        )
        return CommandResult(**answer)

    def file_systems(self) -> Sequence[FileSystem]:
        """As `GuestDisks.file_systems` has it."""
        return [FileSystem(**facts) for facts in self._call("file_systems")]

    def check(self, file_system: FileSystem) -> None:
        """As `GuestDisks.check` has it."""
        self._call("check", _CHECK_SECONDS, device=file_system.device)

    def mount(self, file_system: FileSystem, mount_point: str, *, subvolume: str = "") -> None:
        """As `GuestDisks.mount` has it."""
        self._call("mount", device=file_system.device, mount_point=mount_point, subvolume=subvolume)

    def unmount_all(self) -> None:
        """As `GuestDisks.unmount_all` has it."""
        self._call("unmount_all")

    def read_disk(self, disk_index: int, offset: int, length: int) -> bytes:
        """As `GuestDisks.read_disk` has it."""
        return base64.b64decode(self._call("read_disk", disk_index=disk_index, offset=offset, length=length))

    def esp_exists(self, file_system: FileSystem, path: str) -> bool:
        """As `GuestDisks.esp_exists` has it."""
        return bool(self._call("esp_exists", device=file_system.device, path=path))

    def esp_read(self, file_system: FileSystem, path: str) -> str | None:
        """As `GuestDisks.esp_read` has it."""
        answer = self._call("esp_read", device=file_system.device, path=path)
        return None if answer is None else str(answer)

    def esp_write(self, file_system: FileSystem, path: str, content: str) -> None:
        """As `GuestDisks.esp_write` has it."""
        self._call("esp_write", device=file_system.device, path=path, content=content)

    def esp_copy(self, file_system: FileSystem, source: str, destination: str) -> None:
        """As `GuestDisks.esp_copy` has it."""
        self._call("esp_copy", device=file_system.device, source=source, destination=destination)

    def _call(self, call: str, within: float = _CALL_SECONDS, /, **arguments: Any) -> Any:
        process = self._process
        if process is None or process.stdin is None:
            raise StepFailed("the guest's disks are not open")
        try:
            process.stdin.write(json.dumps({"call": call, "arguments": arguments}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            pass  # the reply's absence tells the same, with more to say
        reply = json.loads(self._await_reply(call, within))
        if "error" in reply:
            raise _ERRORS.get(reply["error"], StepFailed)(reply["message"])
        return reply["answer"]

    def _await_reply(self, call: str, timeout_seconds: float) -> str:
        for _ in range(int(timeout_seconds / _POLL_SECONDS)):
            self._report.check()
            try:
                line = self._replies.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if not line:
                raise Unavailable(f"the process that holds the guest's disks ended during {call}; see the worker's log")
            return line
        raise StepFailed(f"{call} on the guest's disks did not end in {timeout_seconds:.0f} s and was stopped")

    def _read_replies(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._replies.put(line)
        self._replies.put("")

    def _kill(self) -> None:
        process = self._process
        if process is None:
            return
        # Killing unshare kills the enclosure (--kill-child), the first process of its PID namespace, and so all.
        process.kill()
        process.wait()
        self._reader.join()
        if process.stdin:
            process.stdin.close()
        self._process = None
