"""`isthmus docker package`: the managed plug-in by which Docker's swarm mode reaches this host's network agent."""

import argparse
from pathlib import Path

from cliff.command import Command

from isthmus.networking.libnetwork.managed_plugin import write_plugin

DEFAULT_SOCKET = Path("/run/docker/plugins/isthmus.sock")


class DockerPackage(Command):  # type: ignore[misc]  # cliff is not followed by mypy
    """Write the plug-in that swarm mode needs, as a directory for `docker plugin create`."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="new or empty")
        parser.add_argument(
            "--socket", type=Path, default=DEFAULT_SOCKET, help="the network agent's plugin_socket on each node"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Write it and name the directory."""
        print(write_plugin(parsed_args.directory, parsed_args.socket.absolute()))
        return 0
