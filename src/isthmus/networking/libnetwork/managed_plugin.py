"""A managed plug-in of Docker that leads to this host's agent: swarm mode takes no other (no "legacy" ones).

It is a directory for `docker plugin create`: a configuration, and a root with one static program that hands Docker's
connections on to the agent's own plug-in socket. It has no capabilities and no network.
"""

import json
from pathlib import Path
from typing import Any

from isthmus.control.errors import Conflict
from isthmus.networking.static_programs import content_of

EXECUTABLE = "isthmus-plugin"
_SOCKET = "isthmus.sock"
_HOST = "/host"


def write_plugin(directory: Path, agent_socket: Path) -> Path:
    """Write the plug-in into a new or empty directory, which is returned; `Conflict` if something is in it.

    `agent_socket` is `[network_agent] plugin_socket`. Its directory is mounted, so that an agent's restart goes unseen.
    """
    if directory.exists() and any(directory.iterdir()):
        raise Conflict(f"{directory} is not empty; name a new directory, or remove what is in it")
    root = directory / "rootfs"
    # Docker mounts its own directory of sockets, and the agent's, over these.
    for place in (_HOST, "/run/docker/plugins"):
        (root / place.lstrip("/")).mkdir(parents=True)
    program = root / EXECUTABLE
    program.write_bytes(content_of(EXECUTABLE, "isthmus.networking.libnetwork", "executable/isthmus_plugin.c"))
    program.chmod(0o755)
    configuration = json.dumps(configuration_of(agent_socket), indent=2)
    (directory / "config.json").write_text(f"{configuration}\n", encoding="ascii")
    return directory


def configuration_of(agent_socket: Path) -> dict[str, Any]:
    """Return config.json, as Docker's plugin reference has it."""
    return {
        "description": "Neutron networks, by the Isthmus network agent of this host",
        "documentation": "docs/docker.md",
        "entrypoint": [f"/{EXECUTABLE}", f"/run/docker/plugins/{_SOCKET}", f"{_HOST}/{agent_socket.name}"],
        "workdir": "/",
        "interface": {"types": ["docker.networkdriver/1.0", "docker.ipamdriver/1.0"], "socket": _SOCKET},
        "network": {"type": "none"},
        "mounts": [
            {
                "name": "agent",
                "description": "the directory of the network agent's plug-in socket",
                "source": str(agent_socket.parent),
                "destination": _HOST,
                "type": "bind",
                "options": ["rbind"],
                "settable": ["source"],
            }
        ],
        "linux": {"capabilities": []},
    }
