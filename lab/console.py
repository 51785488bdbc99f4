"""What machines of lab clouds say on their serial consoles."""

import contextlib
import re
import threading
import time
from types import TracebackType
from typing import Any, Self

import libvirt

from lab.clouds import LibvirtCloud

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e]")


class Console:
    """Reads a machine's console in the background, from now until it stops or the block ends.

        with Console(cloud, "web") as console:
            console.wait_for(r"login:", 120)

    Only one reader can have a console: it takes it from whoever reads it now.
    """

    def __init__(self, cloud: LibvirtCloud, machine: str) -> None:
        self.machine = machine
        self.lines: list[str] = []
        self._rest = ""
        self._changed = threading.Condition()
        self._ended = False
        self._connection: Any = cloud.connect()
        self._stream: Any = self._connection.newStream(0)
        domain = self._connection.lookupByName(machine)
        domain.openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        self._thread = threading.Thread(target=self._read, name=f"console {machine}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(libvirt.libvirtError):  # the machine is off: libvirt ended the stream
            self._stream.abort()
        self._thread.join(10)
        self._connection.close()

    def wait_for(self, pattern: str, seconds: float) -> re.Match[str]:
        """Return the first match of `pattern` in any line; TimeoutError shows the last lines."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or self._ended:
                    why = "the console ended" if self._ended else f"not within {seconds:.0f} s"
                    raise TimeoutError(f"{self.machine}: no {pattern!r} on the console ({why}):\n{self.tail()}")
                self._changed.wait(min(left, 1))

    def last(self, pattern: str) -> re.Match[str]:
        """Return the last match of `pattern` in what was said so far; LookupError if there is none."""
        with self._changed:
            for line in reversed(self.lines):
                if match := re.search(pattern, line):
                    return match
        raise LookupError(f"{self.machine}: no {pattern!r} on the console:\n{self.tail()}")

    def tail(self, lines: int = 20) -> str:
        """Return the last lines."""
        return "\n".join(self.lines[-lines:])

    def _read(self) -> None:
        while True:
            try:
                data = self._stream.recv(4096)
            except libvirt.libvirtError:
                data = b""
            with self._changed:
                if not data:
                    self._ended = True
                    self._changed.notify_all()
                    return
                *lines, self._rest = (self._rest + data.decode("utf-8", "replace")).split("\n")
                self.lines.extend(_CONTROL.sub("", line) for line in lines)
                self._changed.notify_all()
