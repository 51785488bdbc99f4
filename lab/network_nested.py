"""A virtual machine of the cloud, played by namespaces: a host with one interface, which is on a Neutron port.

On it runs an agent that is nested: its containers' interfaces are on top of the machine's own (`macvlan`, `vlan`).
"""

import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.control_plane import ISTHMUS
from lab.cri_calls import agent_socket
from lab.network_agents import START_SECONDS, agent_socket_in, start_agent
from lab.network_host import NetworkHost
from lab.network_playground import NetworkPlayground
from lab.network_relay import LoopbackRelay

PARENT = "ens3"


class NestedHost:
    """The machine; a context manager. `parent` is a Neutron port (openstacksdk's) of the project `demo`."""

    def __init__(self, playground: NetworkPlayground, directory: Path, parent: Any, *, prefix_length: int = 24) -> None:
        self._playground = playground
        self.parent = parent
        self._prefix_length = prefix_length
        self._programs: list[subprocess.Popen[bytes]] = []
        self.directory = directory

    def __enter__(self) -> Self:
        self.directory.mkdir(exist_ok=True)
        with ExitStack() as undo:
            self.host = NetworkHost()
            undo.callback(self._collect)
            undo.callback(self.host.close)
            self._plug(undo)
            ports = self._playground.plane.ports
            wanted = (ports[name] for name in ("keystone", "barbican", "neutron"))
            undo.enter_context(LoopbackRelay(self.host, self._playground.host, *wanted))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    @property
    def socket(self) -> Path:
        """The nested agent's socket."""
        return agent_socket_in(self.directory)

    def start_agent(self, binder: str) -> subprocess.Popen[bytes]:
        """Start the machine's own agent; return when it is ready."""
        options = f"host = nested\nbinder = {binder}\nparent_interface = {PARENT}\nplugin_socket =\n"
        return start_agent(self._playground.plane, self.directory, self._spawn, options)

    def _spawn(self, name: str, *command: str, environment: Any = None) -> subprocess.Popen[bytes]:
        self._programs.append(self.host.spawn(*command, log=self.directory / f"{name}.log", env=environment))
        return self._programs[-1]

    def _collect(self) -> None:
        for program in self._programs:
            program.wait(START_SECONDS)

    def _plug(self, undo: ExitStack) -> None:
        """Have the host's agent make an interface on the parent port, and bring it into the machine."""
        outer = self._playground.host
        socket = ("--socket", str(agent_socket(self._playground.state_dir)))
        outer.run(ISTHMUS, "port", "attach", self.parent.id, "--interface", PARENT, *socket, limit=120)
        undo.callback(outer.run, ISTHMUS, "port", "detach", "--interface", PARENT, *socket, limit=120)
        subprocess.run(
            ["nsenter", f"--net=/proc/{outer.pid}/ns/net", "ip", "link", "set", PARENT, "netns", str(self.host.pid)],
            check=True,
        )
        address = f"{self.parent.fixed_ips[0]['ip_address']}/{self._prefix_length}"
        self.host.run("ip", "address", "add", address, "dev", PARENT)
        self.host.run("ip", "link", "set", PARENT, "up")
