"""`isthmus execution …`: the runs of a transfer."""

import argparse

from isthmus.cli.answers import Execution, Task
from isthmus.cli.display import choose
from isthmus.cli.rest import Record, RestCommand, RestLister, RestShow, Table
from isthmus.cli.watching import follow_execution, reason_of


def steps_text(tasks: list[Task]) -> str:
    """Return one line for each step, below it the reason of a failure."""
    lines = []
    for task in sorted(tasks, key=lambda task: task.index):
        lines.append(f"{task.status:<12} {task.task_type} ({task.instance})")
        if task.status == "ERROR":
            lines += [f"  {line}" for line in reason_of(task).splitlines()]
    return "\n".join(lines)


def instance_option(parser: argparse.ArgumentParser) -> None:
    """Add the choice of instances."""
    parser.add_argument(
        "--instance",
        dest="instances",
        action="append",
        default=[],
        metavar="NAME",
        help="only this one; may be repeated",
    )


def hold_option(parser: argparse.ArgumentParser) -> None:
    """Add the wish to look at a failure before it is undone."""
    parser.add_argument(
        "--hold-on-error", action="store_true", help="a failed step waits, up to a day, to be retried or cancelled"
    )


def _begun(transfer_id: str, execution: Execution) -> Record:
    return (
        ("id", "transfer", "number", "status"),
        (execution.id, transfer_id, execution.number, execution.status),
    )


class _OneExecution:
    """The parser of commands about one execution."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the transfer's and the execution's id."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]  # a mixin of cliff's
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        parser.add_argument("execution", metavar="EXECUTION", help="id")
        return parser


class ExecutionCreate(RestShow):
    """Copy what has changed since the last time."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        parser.add_argument("--shutdown-instances", action="store_true", help="stop the machines before the copy")
        parser.add_argument("--auto-deploy", action="store_true", help="deploy when the copy is complete")
        instance_option(parser)
        parser.add_argument(
            "--keep-partial", action="store_true", help="keep what a first copy has sent if it fails, for a retry"
        )
        hold_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin; `isthmus execution watch TRANSFER EXECUTION` follows it."""
        execution = self.api.execute(
            parsed_args.transfer,
            shutdown_instances=parsed_args.shutdown_instances,
            auto_deploy=parsed_args.auto_deploy,
            instances=parsed_args.instances,
            keep_partial=parsed_args.keep_partial,
            hold_on_error=parsed_args.hold_on_error,
        )
        return _begun(parsed_args.transfer, execution)


class ExecutionList(RestLister):
    """List the executions of a transfer."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each execution, oldest first."""
        rows = [
            (item.number, item.id, item.type, item.status, str(item.created_at or ""), str(item.updated_at or ""))
            for item in self.api.executions(parsed_args.transfer)
        ]
        return ("Number", "ID", "Type", "Status", "Begun", "Updated"), rows


class ExecutionShow(_OneExecution, RestShow):
    """Show one execution and its steps."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the execution."""
        execution = self.api.execution(parsed_args.transfer, parsed_args.execution)
        shown = {
            "id": execution.id,
            "transfer": parsed_args.transfer,
            "number": execution.number,
            "type": execution.type,
            "status": execution.status,
            "instances": "\n".join(execution.instances or ()) or "all",
            "retry_of": execution.retry_of or "",
            "created_at": str(execution.created_at or ""),
            "updated_at": str(execution.updated_at or ""),
            "steps": steps_text(execution.tasks),
        }
        return list(shown), list(shown.values())


class ExecutionWatch(_OneExecution, RestCommand):
    """Follow an execution to its end."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Return 0 if it completed; an error names the failed steps."""
        display = choose(watch=True, stream=self.app.stderr)
        try:
            follow_execution(self.api, parsed_args.transfer, parsed_args.execution, display)
        finally:
            display.finish()
        return 0


class ExecutionCancel(_OneExecution, RestCommand):
    """Stop an execution and undo what it began."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--force", action="store_true", help="also stop an undo that does not get on")
        parser.add_argument("--keep", action="store_true", help="keep what a first copy has sent, for a retry")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask for it; `isthmus execution watch TRANSFER EXECUTION` shows when it is done."""
        self.api.cancel_execution(
            parsed_args.transfer, parsed_args.execution, force=parsed_args.force, keep=parsed_args.keep
        )
        return 0


class ExecutionRetry(_OneExecution, RestShow):
    """Take up what failed in an execution: its held steps, or in a new one the instances."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        instance_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin; `isthmus execution watch TRANSFER EXECUTION` follows it."""
        execution = self.api.retry_execution(parsed_args.transfer, parsed_args.execution, parsed_args.instances)
        return _begun(parsed_args.transfer, execution)


class ExecutionDelete(RestCommand):
    """Delete the records of ended executions."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        parser.add_argument("executions", metavar="EXECUTION", nargs="+", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Delete one after the other; the first error ends it."""
        for execution_id in parsed_args.executions:
            self.api.delete_execution(parsed_args.transfer, execution_id)
        return 0
