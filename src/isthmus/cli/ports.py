"""`isthmus port attach|detach|list|show`: put a tap, a namespace or an interface of this host on a Neutron port.

The agent of this host is asked on its socket, which only root can open.
"""

import argparse
import json
from abc import abstractmethod
from pathlib import Path
from typing import Any

from cliff.command import Command

from isthmus.control.errors import InvalidInput
from isthmus.control.network_agent import DEFAULT_SOCKET, ask


class _PortCommand(Command):  # type: ignore[misc]  # cliff is not followed by mypy
    """A command about the ports of this host."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with what all of them take."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--socket", type=Path, default=DEFAULT_SOCKET, help="the network agent's socket")
        parser.add_argument("-f", "--format", choices=["text", "json"], default="text")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask and print."""
        method, path, body = self.request(parsed_args)
        answer = ask(parsed_args.socket, method, path, body)
        if parsed_args.format == "json":
            print(json.dumps(answer, indent=2))
        else:
            for port in answer.get("ports", [answer["port"]] if "port" in answer else []):
                print(line_of(port))
        return 0

    @abstractmethod
    def request(self, parsed_args: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
        """Return what to ask: method, path, body."""


class _PlaceCommand(_PortCommand):
    """A command about one place."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the options that say where."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--tap", metavar="NAME", help="a virtual machine's tap, which exists")
        parser.add_argument("--netns", metavar="PATH_OR_NAME", help="a network namespace, with --interface")
        parser.add_argument(
            "--interface", metavar="NAME", help="the interface's name, in the namespace or on this host"
        )
        return parser


class PortAttach(_PlaceCommand):
    """Attach a tap, a namespace or an interface of this host to a port or a network."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        add = parser.add_argument
        add("to", metavar="PORT_OR_NETWORK", help="id or name; of a network, a new port")
        add("--project", metavar="NAME", help="project, as the agent's credentials name it; default: their first")
        add("--address", action="append", default=[], metavar="IP", help="address that a new port shall have")
        add("--mac", help="MAC address that a new port shall have")
        add("--security-group", action="append", metavar="GROUP", help="name or id; may be given again")
        add("--binder", metavar="NAME", help="how it is plugged; default: as the agent is configured")
        return parser

    def request(self, parsed_args: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
        """Return what to ask."""
        body = {
            "place": place_of(parsed_args),
            "to": parsed_args.to,
            "project": parsed_args.project,
            "addresses": parsed_args.address,
            "mac": parsed_args.mac,
            "security_groups": parsed_args.security_group,
            "binder": parsed_args.binder,
        }
        return "POST", "/ports/attach", body


class PortDetach(_PlaceCommand):
    """Detach what is attached at a place; the port goes with it, unless it was there before."""

    def request(self, parsed_args: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
        """Return what to ask."""
        return "POST", "/ports/detach", {"place": place_of(parsed_args)}


class PortShow(_PlaceCommand):
    """Show what is attached at a place, and what is wrong with it."""

    def request(self, parsed_args: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
        """Return what to ask."""
        return "POST", "/ports/show", {"place": place_of(parsed_args)}


class PortList(_PortCommand):
    """List all that is attached on this host."""

    def request(self, parsed_args: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
        """Return what to ask."""
        del parsed_args
        return "GET", "/ports", None


def place_of(parsed_args: argparse.Namespace) -> dict[str, str]:
    """Return the place that the options name; `InvalidInput` if they name none or two."""
    tap, netns, interface = parsed_args.tap, parsed_args.netns, parsed_args.interface
    if tap and not netns and not interface:
        return {"kind": "tap", "interface": tap}
    if netns and interface and not tap:
        return {"kind": "netns", "interface": interface, "netns": netns}
    if interface and not tap:
        return {"kind": "interface", "interface": interface}
    raise InvalidInput("say where: --tap NAME, or --netns PATH_OR_NAME --interface NAME, or --interface NAME")


def line_of(port: dict[str, Any]) -> str:
    """Return an attachment as one line, with a further one for each problem."""
    addresses = ",".join(port["addresses"]) or "-"
    line = f"{port['owner']:<10} {port['state']:<9} {port['network'] or '-':<16} {addresses:<36} {port['id']}"
    problems = port.get("problems") or [port["problem"]]
    return "\n".join([line, *(f"           ! {problem}" for problem in problems if problem)])
