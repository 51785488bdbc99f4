"""`isthmus endpoint …`: the clouds that a project has registered."""

import argparse
from typing import Any

from isthmus.cli import inputs
from isthmus.cli.answers import Endpoint
from isthmus.cli.rest import Record, RestCommand, RestDelete, RestLister, RestShow, Table
from isthmus.control.errors import InvalidInput, StepFailed

CONNECTION_HELP = (
    "connection details: a file of JSON or YAML, - for standard input, or key=value; may be given again. "
    "`isthmus provider schema show PROVIDER` tells which. They are stored in Barbican"
)


def _record(endpoint: Endpoint) -> Record:
    shown = {
        "id": endpoint.id,
        "name": endpoint.name,
        "provider": endpoint.type,
        "description": endpoint.description or "",
        "regions": ", ".join(endpoint.mapped_regions),
        "connection_secret": endpoint.connection_info.get("secret_ref", ""),
        "created_at": str(endpoint.created_at or ""),
    }
    return list(shown), list(shown.values())


def _connection_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument("--connection", action="append", metavar="FILE|-|KEY=VALUE", help=CONNECTION_HELP)
    group.add_argument("--connection-secret", metavar="REF", help="a Barbican secret that holds them as JSON")


def _connection(parsed: argparse.Namespace) -> dict[str, Any] | None:
    if parsed.connection_secret:
        return {"secret_ref": parsed.connection_secret}
    return inputs.document("--connection", parsed.connection) if parsed.connection else None


class EndpointCreate(RestShow):
    """Register a cloud and check that it answers."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--provider", required=True, help="its kind: `isthmus provider list`")
        parser.add_argument("--name", required=True, help="your name for it")
        parser.add_argument("--description", default="", help="a note")
        parser.add_argument("--region", action="append", default=[], metavar="ID", help="region whose workers serve it")
        parser.add_argument("--skip-validation", action="store_true", help="do not ask the cloud now")
        _connection_options(parser, required=True)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Create; if the cloud does not answer, the endpoint stays and the error says so."""
        body = {
            "name": parsed_args.name,
            "type": parsed_args.provider,
            "description": parsed_args.description,
            "connection_info": _connection(parsed_args),
            "mapped_regions": parsed_args.region,
        }
        endpoint = self.api.create_endpoint(body)
        if not parsed_args.skip_validation:
            valid, message = self.api.validate_endpoint(endpoint.id)
            if not valid:
                raise StepFailed(
                    f"endpoint '{endpoint.name}' ({endpoint.id}) is registered, but its cloud does not let us in: "
                    f"{message}; mend it with `isthmus endpoint update {endpoint.id} --connection …`"
                )
        return _record(endpoint)


class EndpointList(RestLister):
    """List the registered clouds."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each endpoint."""
        rows = [(item.id, item.name, item.type, item.description or "") for item in self.api.endpoints()]
        return ("ID", "Name", "Provider", "Description"), rows


class _OneEndpoint:
    """The parser of commands about one endpoint."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the endpoint's name or id."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]  # a mixin of cliff's
        parser.add_argument("endpoint", metavar="ENDPOINT", help="name or id")
        return parser


class EndpointShow(_OneEndpoint, RestShow):
    """Show one registered cloud."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the endpoint."""
        return _record(self.api.endpoint(parsed_args.endpoint))


class EndpointUpdate(_OneEndpoint, RestShow):
    """Change a registered cloud."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", help="its new name")
        parser.add_argument("--description", help="a note")
        parser.add_argument("--region", action="append", metavar="ID", help="region whose workers serve it")
        _connection_options(parser, required=False)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Change what is given."""
        wanted = {
            "name": parsed_args.name,
            "description": parsed_args.description,
            "mapped_regions": parsed_args.region,
            "connection_info": _connection(parsed_args),
        }
        body = {key: value for key, value in wanted.items() if value is not None}
        if not body:
            raise InvalidInput("nothing to change: give --name, --description, --region or --connection")
        endpoint = self.api.endpoint(parsed_args.endpoint)
        return _record(self.api.update_endpoint(endpoint.id, body))


class EndpointDelete(RestDelete):
    """Forget registered clouds."""

    subject = "endpoint"
    named = "name or id"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.delete_endpoint(self.api.endpoint(name).id)


class EndpointValidate(_OneEndpoint, RestCommand):
    """Check that a cloud answers and lets us in."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print the answer; exit code 1 if it does not."""
        endpoint = self.api.endpoint(parsed_args.endpoint)
        valid, message = self.api.validate_endpoint(endpoint.id)
        if not valid:
            raise StepFailed(f"endpoint '{endpoint.name}' does not let us in: {message}")
        self.app.stdout.write(f"endpoint '{endpoint.name}' answers and lets us in\n")
        return 0
