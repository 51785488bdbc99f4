"""The agent's options as its rooms get them. All are declared in `isthmus.control.network_options`."""

from dataclasses import dataclass
from pathlib import Path

from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import InvalidInput


@dataclass(frozen=True)
class Sockets:
    """Where the agent listens: its own socket, and Docker's if there is one."""

    own: Path
    plugin: Path | None


def sockets_of(conf: ConfigOpts) -> Sockets:
    """Return the sockets' paths."""
    options = conf.network_agent
    own = Path(options.socket) if options.socket else Path(conf.state_dir) / "network-agent.sock"
    return Sockets(own, Path(options.plugin_socket) if options.plugin_socket else None)


def secret_references(conf: ConfigOpts) -> dict[str, str]:
    """Return {project's name: its credential's secret}, the default one first; `InvalidInput` for a malformed entry."""
    found: dict[str, str] = {}
    for entry in conf.network_agent.credentials:
        name, separator, reference = entry.partition("=")
        if not separator or not name.strip() or not reference.strip():
            raise InvalidInput(f"[network_agent] credentials has {name!r} without a secret; write name=secret_ref,…")
        if name.strip() in found:
            raise InvalidInput(f"[network_agent] credentials names {name.strip()} twice; give each project one name")
        found[name.strip()] = reference.strip()
    if not found:
        raise InvalidInput("[network_agent] credentials is empty; give the agent a project's application credential")
    return found
