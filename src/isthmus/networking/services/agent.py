"""`isthmus network-agent`: one process a host, on sockets that only root can open.

waitress serves it: threads in the one process that also holds Open vSwitch's connection and the store. A server that
forks a watched worker costs each host a second interpreter (25 MiB); whoever starts the agent watches it anyway.
"""

import fcntl
import os
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

import waitress
from oslo_config.cfg import ConfigOpts
from oslo_log import log as oslo_log

from isthmus.control.errors import Conflict
from isthmus.control.readiness import say_ready
from isthmus.networking.configuration import sockets_of
from isthmus.networking.services.assembly import assemble

_LONGEST_BODY = 1048576
"""Bytes; the longest real call is CNI's GC, with about 150 bytes for each attachment."""


def run(conf: ConfigOpts) -> None:
    """Serve until SIGTERM or SIGINT; calls that are under way are given a few seconds.

    Raises `Conflict` if an agent runs with this state_dir already, `InvalidInput` for a configuration that cannot work.
    """
    oslo_log.setup(conf, "isthmus")
    signal.signal(signal.SIGTERM, _leave)
    os.umask(0o077)
    paths = sockets_of(conf)
    with ExitStack() as undo:
        undo.enter_context(_only_one(Path(conf.state_dir)))
        running = assemble(conf)
        listeners = [undo.enter_context(_listen(path)) for path in (paths.own, paths.plugin) if path]
        server = waitress.create_server(
            running.application,
            sockets=listeners,
            threads=conf.network_agent.threads,
            max_request_body_size=_LONGEST_BODY,
            channel_timeout=int(conf.network_agent.attach_timeout) * 4 + 60,
            ident="isthmus",
        )
        running.background.start()
        undo.callback(running.background.stop)
        say_ready()
        server.run()


def _listen(path: Path) -> socket.socket:
    """Return a listening socket that only root can open; one that a killed agent left is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(128)
    return listener


def _leave(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise SystemExit(0)


class _only_one:  # noqa: N801 - reads as a function
    """Hold the state directory for this process; the kernel lets go of it however the process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "network-agent.lock"

    def __enter__(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"a network agent runs with {self._path.parent} already; stop it first") from None

    def __exit__(self, *_: object) -> None:
        self._file.close()
