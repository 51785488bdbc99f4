"""`isthmus transfer verify`: what the two sides of a transfer hold."""

import argparse
from typing import Any

from isthmus.cli.answers import Execution
from isthmus.cli.display import choose
from isthmus.cli.executions import instance_option
from isthmus.cli.rest import RestLister, Table
from isthmus.cli.watching import follow, require_completed, work_of

COMPARED = "COMPARE_DESTINATION_DISKS"


def rows_of(execution: Execution) -> list[tuple[Any, ...]]:
    """Return a line for each disk: instance, disk, bytes equal, changed since, and different."""
    return [
        (
            task.instance,
            disk["disk_id"],
            disk["equal_bytes"],
            sum(length for _, length in disk["changed"]),
            sum(length for _, length in disk["different"]),
        )
        for task in execution.tasks
        if task.task_type == COMPARED and task.result
        for disk in task.result["disks"]
    ]


class TransferVerify(RestLister):
    """Compare replicas with their sources by hash, without moving their data."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        instance_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Follow it to its end and return one line for each disk; an error if a disk differs."""
        transfer = parsed_args.transfer
        begun = self.api.verify(transfer, parsed_args.instances)
        display = choose(watch=True, stream=self.app.stderr)
        try:
            work = follow(lambda: work_of(self.api.execution(transfer, begun.id)), display)
        finally:
            display.finish()
        look = f"isthmus execution show {transfer} {begun.id}"
        require_completed(work, f"verification {begun.id} of transfer {transfer}", look)
        return ("Instance", "Disk", "Equal", "Changed since", "Different"), rows_of(
            self.api.execution(transfer, begun.id)
        )
