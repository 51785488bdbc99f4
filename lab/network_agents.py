"""A network agent of one's own, on any host of the playground, beside the one that the control plane runs."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from isthmus.control.readiness import READY_FILE
from lab.control_plane import ISTHMUS, ControlPlane
from lab.network_host import NetworkHost, wait_for

START_SECONDS = 60
Spawn = Callable[..., subprocess.Popen[bytes]]
"""Starts a program on the host: name of its log, command line, `environment`."""


def start_agent(plane: ControlPlane, directory: Path, spawn: Spawn, options: str) -> subprocess.Popen[bytes]:
    """Start an agent with the control plane's credentials; return when it is ready.

    `options` are its further ones, each a line of `[network_agent]`. Its socket is `agent_socket_in(directory)`.
    """
    state, ready, own = directory / "agent", directory / "agent.ready", directory / "agent.conf"
    state.mkdir(exist_ok=True)
    ready.unlink(missing_ok=True)
    own.write_text(f"[DEFAULT]\nstate_dir = {state}\n[network_agent]\n{options}")
    files = (plane.configuration, plane.state_dir / "network" / "agent.conf", own)
    words = [word for file in files for word in ("--config-file", str(file))]
    agent = spawn("agent", ISTHMUS, "network-agent", *words, environment={**os.environ, READY_FILE: str(ready)})

    def is_ready() -> bool:
        if agent.poll() is not None:
            raise RuntimeError(f"the agent ended: {(directory / 'agent.log').read_text()[-2000:]}")
        return ready.exists()

    wait_for(f"the agent of {directory.name}", is_ready, START_SECONDS)
    return agent


def stop_agent(host: NetworkHost, agent: "subprocess.Popen[bytes]") -> None:
    """End an agent that was started here; what it attached stays."""
    if program := host.program_of(agent):
        program.terminate()
    agent.wait(START_SECONDS)


def agent_socket_in(directory: Path) -> Path:
    """Return the socket of an agent that was started here."""
    return directory / "agent" / "network-agent.sock"
