"""Installing the plug-in on a host: the executable into the runtime's directory of plug-ins, a network into another.

Files are written beside their place and moved there, so that a runtime never meets half of one. The executable is the
one that was built with this installation; where there is none it is built from the source that comes with the package.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.networking.cni.calls import NAME
from isthmus.networking.cni.protocol import SUPPORTED_VERSIONS
from isthmus.networking.static_programs import content_of

EXECUTABLE = "isthmus-cni"
CAPABILITIES = ("mac", "ips", "portMappings", "bandwidth", "dns")


def install_executable(directory: Path) -> Path:
    """Put the executable into a directory; return its path. There already: replaced, which a running call outlives."""
    program = content_of(EXECUTABLE, "isthmus.networking.cni", "executable/isthmus_cni.c")
    return _put(directory / EXECUTABLE, program, 0o755)


def install_network(directory: Path, name: str, socket: Path, keys: Mapping[str, Any], *, order: int = 10) -> Path:
    """Write a network's configuration; return its path.

    `keys` are further ones of the plug-in. `InvalidInput` for a wrong name; `Conflict` if there is a file that says
    something else.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name of a network; use letters, digits, '_', '.' and '-'")
    plugin = {
        "type": EXECUTABLE,
        "agentSocket": str(socket),
        **keys,
        "capabilities": dict.fromkeys(CAPABILITIES, True),
    }
    # Runtimes that know no `cniVersions` take the one in `cniVersion`, which all of them can.
    network = {"cniVersion": "1.0.0", "cniVersions": list(SUPPORTED_VERSIONS), "name": name, "plugins": [plugin]}
    content = (json.dumps(network, indent=2) + "\n").encode()
    path = directory / f"{order:02d}-{name}.conflist"
    if path.exists() and path.read_bytes() != content:
        raise Conflict(f"{path} exists and says something else; remove it, or install under another name")
    return _put(path, content, 0o644)


def _put(path: Path, content: bytes, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name's end keeps runtimes, which read *.conf, *.conflist and *.json, from seeing it.
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(content)
        beside.chmod(mode)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
