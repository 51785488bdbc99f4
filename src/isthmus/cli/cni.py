"""`isthmus cni install`: what a container runtime on this host needs to put containers on Neutron networks."""

import argparse
from pathlib import Path
from typing import Any

from cliff.command import Command

from isthmus.control.network_agent import DEFAULT_SOCKET
from isthmus.networking.cni.installing import install_executable, install_network


class CniInstall(Command):  # type: ignore[misc]  # cliff is not followed by mypy
    """Install the CNI plug-in, and a network if one is named."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add("network", nargs="?", metavar="NETWORK", help="name of the network for the runtime; none: executable alone")
        add("--bin-dir", type=Path, default=Path("/opt/cni/bin"), metavar="DIR", help="the runtime's plug-ins")
        add("--conf-dir", type=Path, default=Path("/etc/cni/net.d"), metavar="DIR", help="the runtime's networks")
        add("--neutron-network", metavar="NETWORK", help="name or id of the Neutron network; default: NETWORK")
        add("--project", metavar="NAME", help="project, as the agent's credentials name it; default: their first")
        add("--security-group", action="append", metavar="GROUP", help="name or id; may be given again")
        add("--socket", type=Path, default=DEFAULT_SOCKET, help="the network agent's socket")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Write the files and name them."""
        print(install_executable(parsed_args.bin_dir))
        if parsed_args.network:
            wishes: dict[str, Any] = {
                "network": parsed_args.neutron_network,
                "project": parsed_args.project,
                "securityGroups": parsed_args.security_group,
            }
            keys = {key: value for key, value in wishes.items() if value}
            print(install_network(parsed_args.conf_dir, parsed_args.network, parsed_args.socket.absolute(), keys))
        return 0
