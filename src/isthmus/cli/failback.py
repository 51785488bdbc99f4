"""`isthmus transfer failback`: the way home of machines that a transfer has moved."""

import argparse

from isthmus.cli import inputs
from isthmus.cli.executions import instance_option
from isthmus.cli.rest import Record, RestShow
from isthmus.cli.transfers import ENVIRONMENT_FORM, probe_options, transfer_record


class TransferFailback(RestShow):
    """Make the transfer that brings machines home, sending only what has changed."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add("transfer", metavar="TRANSFER", help="id of the one that moved them")
        add("--deployment", metavar="DEPLOYMENT", help="bring back the machines of this one (default: the last)")
        instance_option(parser)
        add(
            "--network",
            action="append",
            nargs="+",
            default=[],
            metavar="THERE=HOME",
            help="where NICs go (default: back to where they came from)",
        )
        for side in ("source", "destination"):
            text = "how to read the machine" if side == "source" else "how it shall be at home"
            add(f"--{side}-environment", action="append", default=[], metavar=ENVIRONMENT_FORM, help=text)
        probe_options(parser)
        add("--notes", help="a note")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Make it; `isthmus execution create TRANSFER` then begins the way home."""
        environment = inputs.document("--destination-environment", parsed_args.destination_environment)
        if parsed_args.boot_probe:
            environment["boot_probe"] = inputs.boot_probe(parsed_args.boot_probe, parsed_args.boot_timeout)
        body = {
            "deployment_id": parsed_args.deployment,
            "instances": parsed_args.instances or None,
            "network_map": inputs.network_map([pair for group in parsed_args.network for pair in group]),
            "source_environment": inputs.document("--source-environment", parsed_args.source_environment),
            "destination_environment": environment,
            "notes": parsed_args.notes,
        }
        return transfer_record(self.api, self.api.failback(parsed_args.transfer, body))
