"""`isthmus transfer update`: what it names is changed, the rest stays."""

import argparse
from typing import Any

from isthmus.cli import inputs
from isthmus.cli.rest import Record, RestShow
from isthmus.cli.transfers import luks_option, probe_options
from isthmus.control.errors import InvalidInput


class TransferUpdate(RestShow):
    """Change how a transfer is made."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        for side in ("source", "destination"):
            parser.add_argument(f"--{side}-environment", action="append", default=[], metavar="FILE|KEY=VALUE")
        parser.add_argument("--network", action="append", nargs="+", default=[], metavar="SOURCE=DESTINATION")
        parser.add_argument("--storage", action="append", nargs="+", default=[], metavar="BACKEND=DESTINATION")
        parser.add_argument("--default-storage", metavar="DESTINATION")
        parser.add_argument("--script", action="append", default=[], metavar="PHASE=FILE")
        parser.add_argument("--clone", action=argparse.BooleanOptionalAction, help="whether deployments copy the disks")
        parser.add_argument("--morphing", action=argparse.BooleanOptionalAction, help="whether guests are changed")
        parser.add_argument("--notes", help="a note")
        for side in ("origin", "destination"):
            parser.add_argument(f"--{side}-pool", metavar="POOL", help="minion pool's id; empty for none")
        probe_options(parser)
        luks_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin; `isthmus execution watch TRANSFER EXECUTION` follows it."""
        body = _changes(parsed_args)
        if not body:
            raise InvalidInput("nothing to change: name at least one option, see `isthmus transfer update --help`")
        execution = self.api.update_transfer(parsed_args.transfer, body)
        return ("transfer", "execution", "status"), (parsed_args.transfer, execution.id, execution.status)


def _changes(parsed: argparse.Namespace) -> dict[str, Any]:
    destination = inputs.document("--destination-environment", parsed.destination_environment)
    if parsed.boot_probe:
        destination["boot_probe"] = inputs.boot_probe(parsed.boot_probe, parsed.boot_timeout)
    if parsed.luks_secret:
        destination["luks_secret_ref"] = parsed.luks_secret
    storage = [pair for group in parsed.storage for pair in group]
    whole = {
        "source_environment": inputs.document("--source-environment", parsed.source_environment),
        "destination_environment": destination,
        "network_map": inputs.network_map([pair for group in parsed.network for pair in group]),
        "storage_mappings": inputs.storage_mappings(storage, parsed.default_storage)
        if storage or parsed.default_storage
        else {},
        "user_scripts": inputs.user_scripts(parsed.script) if parsed.script else {},
    }
    body: dict[str, Any] = {key: value for key, value in whole.items() if value}
    if parsed.clone is not None:
        body["clone_disks"] = parsed.clone
    if parsed.morphing is not None:
        body["skip_os_morphing"] = not parsed.morphing
    if parsed.notes is not None:
        body["notes"] = parsed.notes
    for side in ("origin", "destination"):
        pool = getattr(parsed, f"{side}_pool")
        if pool is not None:
            body[f"{side}_minion_pool_id"] = pool or None
    return body
