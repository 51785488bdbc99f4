"""`isthmus provider …`, `instance …` and `endpoint network|storage|option list`: what clouds can do and have."""

import argparse
import json
from typing import Any

from isthmus.cli import inputs
from isthmus.cli.rest import Record, RestCommand, RestLister, RestShow, Table

# Coriolis' provider bits: what GET /providers reports in `types`.
DESTINATION, SOURCE, CONNECTION = 4, 8, 16
SCHEMA_KINDS = {
    "connection": (CONNECTION, "connection_info_schema"),
    "source": (SOURCE, "source_environment_schema"),
    "destination": (DESTINATION, "destination_environment_schema"),
}


class ProviderList(RestLister):
    """List the kinds of clouds and what each can do."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each provider."""
        rows = []
        for name, facts in sorted(self.api.providers().items()):
            types = set(facts["types"])
            sides = ["yes" if bit in types else "no" for bit in (SOURCE, DESTINATION)]
            rows.append((name, *sides, ", ".join(str(number) for number in sorted(types))))
        return ("Provider", "Source", "Destination", "Types"), rows


class ProviderSchemaShow(RestCommand):
    """Print the JSON schemas of a provider."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("provider", metavar="PROVIDER")
        parser.add_argument("--kind", choices=list(SCHEMA_KINDS), default="connection", help="default: %(default)s")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print one JSON document."""
        bit, key = SCHEMA_KINDS[parsed_args.kind]
        schemas = self.api.provider_schemas(parsed_args.provider, bit)
        self.app.stdout.write(json.dumps(schemas[key], indent=2) + "\n")
        return 0


class _AboutEndpoint(RestLister):
    """A listing of what a cloud has; asks the cloud at once, so it may take some seconds."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--endpoint", required=True, metavar="ENDPOINT", help="the cloud: name or id")
        parser.add_argument(
            "--environment", action="append", default=[], metavar="FILE|JSON|KEY=VALUE", help="source or destination"
        )
        return parser

    def question(self, parsed_args: argparse.Namespace, what: str, **query: Any) -> Any:
        """Ask the cloud."""
        endpoint = self.api.endpoint(parsed_args.endpoint)
        environment = inputs.document("--environment", parsed_args.environment)
        return self.api.ask(endpoint.id, what, environment, **query)


class NetworkList(_AboutEndpoint):
    """List the networks of a cloud."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each network."""
        networks = self.question(parsed_args, "networks")
        return ("ID", "Name"), [(network["id"], network["name"]) for network in networks]


class StorageList(_AboutEndpoint):
    """List the storage back ends of a cloud."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each back end."""
        storage = self.question(parsed_args, "storage")
        default = storage.get("config_default")
        rows = [
            (item["id"], item["name"], _free(item), "yes" if default in {item["id"], item["name"]} else "")
            for item in storage["storage_backends"]
        ]
        return ("ID", "Name", "Free", "Default"), rows


def _free(backend: dict[str, Any]) -> str:
    properties = backend.get("additional_provider_properties") or {}
    free = properties.get("free_bytes", backend.get("free_bytes"))
    return "" if free is None else f"{free / 2**30:.1f} GiB"


class OptionList(_AboutEndpoint):
    """List what a cloud offers for an environment."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--as", dest="side", choices=["source", "destination"], default="destination")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each key of the environment."""
        options = self.question(parsed_args, f"{parsed_args.side}-options")
        rows = [
            (option["name"], ", ".join(_text(value) for value in option["values"]), _text(option.get("config_default")))
            for option in options
        ]
        return ("Option", "Values", "Default"), rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return str(value.get("name") or value.get("id") or json.dumps(value))
    return str(value)


class InstanceList(_AboutEndpoint):
    """List the machines of a cloud."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", metavar="REGEX", help="only machines whose name matches")
        parser.add_argument("--limit", type=int, metavar="N", help="at most so many")
        parser.add_argument("--marker", metavar="ID", help="begin after this machine")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each machine."""
        machines = self.question(
            parsed_args, "instances", name=parsed_args.name, limit=parsed_args.limit, marker=parsed_args.marker
        )
        rows = [
            (item["id"], item["name"], item["num_cpu"], item["memory_mb"], item.get("os_type", "")) for item in machines
        ]
        return ("ID", "Name", "CPUs", "Memory MiB", "OS"), rows


class InstanceShow(RestShow):
    """Show one machine of a cloud."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("instance", metavar="INSTANCE", help="name or id")
        parser.add_argument("--endpoint", required=True, metavar="ENDPOINT", help="the cloud: name or id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the machine; disks and NICs one line each."""
        endpoint = self.api.endpoint(parsed_args.endpoint)
        machine = self.api.instance(endpoint.id, parsed_args.instance)
        devices = machine.pop("devices", {}) or {}
        shown = {key: value for key, value in machine.items() if value is not None}
        shown["disks"] = "\n".join(_disk(disk) for disk in devices.get("disks", []))
        shown["nics"] = "\n".join(_nic(nic) for nic in devices.get("nics", []))
        return list(shown), list(shown.values())


def _disk(disk: dict[str, Any]) -> str:
    size = disk["size_bytes"] / 2**30
    return f"{disk['id']}: {size:.2f} GiB {disk.get('format', '')} on {disk.get('storage_backend_identifier', '')}"


def _nic(nic: dict[str, Any]) -> str:
    addresses = ", ".join(nic.get("ip_addresses") or [])
    return f"{nic.get('mac_address', '')} on {nic.get('network_name', '')} {addresses}".rstrip()


class InventoryExport(RestCommand):
    """Print all machines of a cloud as CSV."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("endpoint", metavar="ENDPOINT", help="name or id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print it, with line ends as RFC 4180 wants them."""
        text = self.api.inventory(self.api.endpoint(parsed_args.endpoint).id)
        self.app.stdout.write(text)
        return 0
