"""`isthmus transfer …`: what shall be moved from where to where. Making one copies nothing yet."""

import argparse
from typing import Any

from isthmus.cli import inputs
from isthmus.cli.answers import Transfer
from isthmus.cli.client import MigrationApi
from isthmus.cli.rest import Facts, Record, RestDelete, RestLister, RestShow, Table

ENVIRONMENT_FORM = "FILE|JSON|KEY=VALUE"


def mapping_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add what `transfer create` and `migrate` have in common: where things go and what is done to the guest."""
    add = parser.add_argument
    add("--from", dest="origin", required=required, metavar="ENDPOINT", help="the source cloud: name or id")
    add("--to", dest="destination", required=required, metavar="ENDPOINT", help="the destination cloud: name or id")
    add("--network", action="append", nargs="+", default=[], metavar="SOURCE=DESTINATION", help="where NICs go")
    add("--default-network", metavar="DESTINATION", help="where NICs on networks not named by --network go")
    add(
        "--storage",
        action="append",
        nargs="+",
        default=[],
        metavar="BACKEND=DESTINATION",
        help="where disks go, by source back end; for a single disk disk:ID=DESTINATION",
    )
    add("--default-storage", metavar="DESTINATION", help="where all other disks go (default: the cloud's default)")
    add("--source-environment", action="append", default=[], metavar=ENVIRONMENT_FORM, help="how to read the source")
    add(
        "--destination-environment",
        action="append",
        default=[],
        metavar=ENVIRONMENT_FORM,
        help="how the machine shall be; `isthmus endpoint option list --endpoint ENDPOINT` shows what can be said",
    )
    add("--skip-os-morphing", action="store_true", help="leave the guest as it is")
    add("--no-clone", action="store_true", help="deploy the replica's own disks, not clones of them: no second copy")
    add(
        "--script",
        action="append",
        default=[],
        metavar="PHASE=FILE",
        help=f"a script for the guest; PHASE is one of {', '.join(inputs.SCRIPT_PHASES)}",
    )
    luks_option(parser)
    add("--notes", help="a note")


def luks_option(parser: argparse.ArgumentParser) -> None:
    """Add where the guests' passphrases are."""
    parser.add_argument(
        "--luks-secret", metavar="REF", help='Barbican secret with {"keys": [passphrases of LUKS volumes]}'
    )


def probe_options(parser: argparse.ArgumentParser) -> None:
    """Add how a deployed machine proves that it lives."""
    parser.add_argument("--boot-probe", metavar="PROBE", help=f"the proof of life: {inputs.PROBE_FORMS}")
    parser.add_argument("--boot-timeout", type=int, metavar="S", help="seconds that the probe may take")


def transfer_body(api: MigrationApi, parsed: argparse.Namespace, instances: list[str], scenario: str) -> dict[str, Any]:
    """Return the content of `{"transfer": …}` from the parsed options; asks the API for endpoints and NICs."""
    origin = api.endpoint(parsed.origin)
    destination = api.endpoint(parsed.destination)
    networks = inputs.network_map([pair for group in parsed.network for pair in group])
    if parsed.default_network:
        for instance in instances:
            for source in networks_of(api.instance(origin.id, instance)):
                networks.setdefault(source, parsed.default_network)
    storage = [pair for group in parsed.storage for pair in group]
    return {
        "scenario": scenario,
        "origin_endpoint_id": origin.id,
        "destination_endpoint_id": destination.id,
        "instances": instances,
        "source_environment": inputs.document("--source-environment", parsed.source_environment),
        "destination_environment": environment_of(parsed),
        "network_map": networks,
        "storage_mappings": inputs.storage_mappings(storage, parsed.default_storage),
        "notes": parsed.notes,
        "user_scripts": inputs.user_scripts(parsed.script),
        "clone_disks": not parsed.no_clone,
        "skip_os_morphing": parsed.skip_os_morphing,
    }


def environment_of(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the destination environment that the options ask for."""
    environment = inputs.document("--destination-environment", parsed.destination_environment)
    if parsed.boot_probe:
        environment["boot_probe"] = inputs.boot_probe(parsed.boot_probe, parsed.boot_timeout)
    elif parsed.boot_timeout is not None:
        environment.setdefault("boot_probe", {})["timeout_seconds"] = parsed.boot_timeout
    if parsed.luks_secret:
        environment["luks_secret_ref"] = parsed.luks_secret
    return environment


def networks_of(machine: dict[str, Any]) -> list[str]:
    """Return the names of the networks that a machine's NICs are on."""
    nics = (machine.get("devices") or {}).get("nics") or []
    return [str(nic["network_name"]) for nic in nics]


def transfer_record(api: MigrationApi, transfer: Transfer) -> Record:
    """Return a transfer as a table of its fields."""
    names = {endpoint.id: endpoint.name for endpoint in api.endpoints()}
    shown = {
        "id": transfer.id,
        "scenario": transfer.scenario,
        "status": transfer.last_execution_status,
        "instances": "\n".join(transfer.instances),
        "from": names.get(transfer.origin_endpoint_id, transfer.origin_endpoint_id),
        "to": names.get(transfer.destination_endpoint_id, transfer.destination_endpoint_id),
        "source_environment": Facts(transfer.source_environment or {}),
        "destination_environment": Facts(transfer.destination_environment or {}),
        "network_map": Facts(transfer.network_map or {}),
        "storage_mappings": Facts(transfer.storage_mappings or {}),
        "clone_disks": transfer.clone_disks,
        "skip_os_morphing": transfer.skip_os_morphing,
        "notes": transfer.notes or "",
        "created_at": str(transfer.created_at or ""),
        "updated_at": str(transfer.updated_at or ""),
    }
    return list(shown), list(shown.values())


class TransferCreate(RestShow):
    """Say what shall be moved from where to where."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("instances", nargs="+", metavar="INSTANCE", help="machines of the source: names or ids")
        parser.add_argument("--scenario", choices=["replica", "live_migration"], default="replica")
        mapping_options(parser, required=True)
        probe_options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Create the transfer."""
        body = transfer_body(self.api, parsed_args, parsed_args.instances, parsed_args.scenario)
        return transfer_record(self.api, self.api.create_transfer(body))


class TransferList(RestLister):
    """List the transfers."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each transfer."""
        names = {endpoint.id: endpoint.name for endpoint in self.api.endpoints()}
        rows = [
            (
                transfer.id,
                transfer.scenario,
                ", ".join(transfer.instances),
                names.get(transfer.origin_endpoint_id, ""),
                names.get(transfer.destination_endpoint_id, ""),
                transfer.last_execution_status,
            )
            for transfer in self.api.transfers()
        ]
        return ("ID", "Scenario", "Instances", "From", "To", "Status"), rows


class TransferShow(RestShow):
    """Show one transfer."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the transfer."""
        return transfer_record(self.api, self.api.transfer(parsed_args.transfer))


class TransferDelete(RestDelete):
    """Delete transfers; the replicas' disks stay."""

    subject = "transfer"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.delete_transfer(name)


class TransferDisksDelete(RestShow):
    """Delete the disks of a replica."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin; `isthmus execution watch TRANSFER EXECUTION` follows it."""
        execution = self.api.delete_disks(parsed_args.transfer)
        return ("transfer", "execution", "status"), (parsed_args.transfer, execution.id, execution.status)
