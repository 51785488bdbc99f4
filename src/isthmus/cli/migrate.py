"""`isthmus migrate`: one running machine, from one cloud to another, with a report at the end.

The work itself is done by the service and goes on without this command; only the sequence of passes is kept here.
That is why the command stays in the foreground also when it shows nothing, and why `--resume` can take it up again.
"""

import argparse
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from isthmus.cli import sequence
from isthmus.cli.display import Display, choose
from isthmus.cli.plans import dry_run
from isthmus.cli.report import MigrationReport, build, lines
from isthmus.cli.rest import Record, RestShow
from isthmus.cli.transfers import mapping_options, probe_options, transfer_body
from isthmus.cli.watching import follow_deployment, follow_execution
from isthmus.control.errors import InvalidInput, IsthmusError

EPILOG = """
Without --watch or --no-watch, bars are shown if standard error is a terminal. Not watching is quiet, but the command
still stays in the foreground until the migration has ended: it begins one pass after the other.
Exit codes: 0 the machine runs at the destination; 1 it does not, and the error says why; 130 interrupted.
"""

FIXED_AT_FIRST = (
    "instance",
    "origin",
    "destination",
    "network",
    "default_network",
    "storage",
    "default_storage",
    "source_environment",
    "destination_environment",
    "skip_os_morphing",
    "no_clone",
    "script",
    "luks_secret",
    "notes",
    "boot_probe",
    "boot_timeout",
)
"""Options that are kept with the transfer."""


class Migrate(RestShow):
    """Move a running machine from one cloud to another."""

    _epilog = EPILOG

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("instance", nargs="?", metavar="INSTANCE", help="the machine's name or id at the source")
        parser.add_argument("--resume", metavar="TRANSFER", help="go on with a migration that was begun")
        mapping_options(parser, required=False)
        probe_options(parser)
        parser.add_argument(
            "--syncs", type=_count, default=2, metavar="N", help="passes while the machine runs (default: %(default)s)"
        )
        parser.add_argument(
            "--watch", action=argparse.BooleanOptionalAction, default=None, help="show bars, or lines without terminal"
        )
        parser.add_argument("--dry-run", action="store_true", help="show what would be met and done; change nothing")
        parser.add_argument("--report", metavar="FILE", help="also write the report there, as JSON")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Migrate, and return the report; or only look at what that would do."""
        if parsed_args.dry_run:
            if parsed_args.resume:
                raise InvalidInput("--dry-run is for a migration that was not begun; see isthmus transfer plan")
            return dry_run(self.api, self._wanted(parsed_args), parsed_args.syncs)
        transfer_id = self._transfer(parsed_args)
        display = choose(parsed_args.watch, self.app.stderr)
        try:
            deployment_id = self._run(transfer_id, parsed_args.syncs, display)
        except KeyboardInterrupt:
            display.finish()
            self.app.stderr.write(_interrupted(transfer_id))
            raise
        except IsthmusError as error:
            display.finish()
            raise type(error)(
                f"{error.message}; nothing of the source is lost: when the cause is mended, go on with "
                f"`isthmus migrate --resume {transfer_id}`"
            ) from error
        report = build(self.api.executions(transfer_id), self.api.deployment(deployment_id))
        if parsed_args.report:
            _write(report, parsed_args.report)
        shown: Mapping[str, Any] = lines(report) if parsed_args.formatter == "table" else dataclasses.asdict(report)
        return list(shown), list(shown.values())

    def _transfer(self, parsed: argparse.Namespace) -> str:
        if parsed.resume:
            given = [name for name in FIXED_AT_FIRST if getattr(parsed, name)]
            if given:
                raise InvalidInput(
                    f"--resume takes everything from the transfer: leave out {', '.join(given)} "
                    "(only --syncs, --watch and --report may be given)"
                )
            return self.api.transfer(parsed.resume).id
        transfer = self.api.create_transfer(self._wanted(parsed))
        self.app.stderr.write(f"transfer {transfer.id}\n")
        return transfer.id

    def _wanted(self, parsed: argparse.Namespace) -> dict[str, Any]:
        if not (parsed.instance and parsed.origin and parsed.destination):
            raise InvalidInput("give INSTANCE --from ENDPOINT --to ENDPOINT, or --resume TRANSFER")
        return transfer_body(self.api, parsed, [parsed.instance], "live_migration")

    def _run(self, transfer_id: str, syncs: int, display: Display) -> str:
        """Do one step after the other and return the deployment's id."""
        while True:
            executions = self.api.executions(transfer_id)
            deployments = [item for item in self.api.deployments() if item.transfer_id == transfer_id]
            match sequence.next_step(syncs, executions, deployments):
                case sequence.Execute(last=last):
                    display.say("last pass: the machine is stopped now" if last else "pass while the machine runs")
                    execution = self.api.execute(transfer_id, shutdown_instances=last)
                    follow_execution(self.api, transfer_id, execution.id, display)
                case sequence.WatchExecution(execution_id=execution_id):
                    follow_execution(self.api, transfer_id, execution_id, display)
                case sequence.Deploy():
                    transfer = self.api.transfer(transfer_id)
                    body = {
                        "transfer_id": transfer_id,
                        "clone_disks": transfer.clone_disks is not False,
                        "skip_os_morphing": bool(transfer.skip_os_morphing),
                    }
                    follow_deployment(self.api, self.api.deploy(body).id, display)
                case sequence.WatchDeployment(deployment_id=deployment_id):
                    follow_deployment(self.api, deployment_id, display)
                case sequence.Done(deployment_id=deployment_id):
                    return deployment_id


def _write(report: MigrationReport, file: str) -> None:
    try:
        Path(file).write_text(json.dumps(dataclasses.asdict(report), indent=2) + "\n")
    except OSError as error:
        raise InvalidInput(f"the migration is complete, but --report {file} cannot be written: {error}") from error


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 10")
    return int(text)


def _interrupted(transfer_id: str) -> str:
    return (
        "\ninterrupted: the step under way goes on in the background, no other is begun.\n"
        f"  look at it:  isthmus execution list {transfer_id}; isthmus deployment list\n"
        f"  stop it:     isthmus execution cancel {transfer_id} EXECUTION, or isthmus deployment cancel DEPLOYMENT\n"
        f"  go on:       isthmus migrate --resume {transfer_id}\n"
    )
