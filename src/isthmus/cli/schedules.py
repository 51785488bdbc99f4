"""`isthmus schedule …`: transfers that are executed by themselves."""

import argparse
from typing import Any

from isthmus.cli.rest import Facts, Record, RestCommand, RestLister, RestShow, Table
from isthmus.control.errors import InvalidInput

FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "dom": "day of the month, 1-31",
    "month": "1-12",
    "dow": "day of the week, 0 (Monday) to 6",
}


def _options(parser: argparse.ArgumentParser) -> None:
    for field, text in FIELDS.items():
        parser.add_argument(f"--{field}", metavar="WHEN", help=f"{text}: a number, 1-5, */2, or a list of those")
    parser.add_argument("--time-zone", metavar="NAME", help="like Europe/Bucharest; by default UTC")
    parser.add_argument("--expires", metavar="TIME", help="ISO 8601, like 2030-01-31T23:00:00Z")
    parser.add_argument("--enabled", action=argparse.BooleanOptionalAction, help="whether it fires")
    parser.add_argument("--shutdown-instances", action=argparse.BooleanOptionalAction, help="stop the machines first")
    parser.add_argument("--auto-deploy", action=argparse.BooleanOptionalAction, help="deploy when the copy is complete")


def _body(parsed: argparse.Namespace) -> dict[str, Any]:
    schedule: dict[str, Any] = {
        name: int(value) if value.isdecimal() else value
        for name, value in ((name, getattr(parsed, name)) for name in FIELDS)
        if value is not None
    }
    if parsed.time_zone:
        schedule["time_zone"] = parsed.time_zone
    wanted = {
        "schedule": schedule or None,
        "expiration_date": parsed.expires,
        "enabled": parsed.enabled,
        "shutdown_instance": parsed.shutdown_instances,
        "auto_deploy": parsed.auto_deploy,
    }
    return {key: value for key, value in wanted.items() if value is not None}


def _record(schedule: dict[str, Any]) -> Record:
    firings = (
        f"{each['due_at']} {each['outcome']} {each['execution_id'] or each['message'] or ''}"
        for each in schedule["firings"]
    )
    shown = {
        "id": schedule["id"],
        "transfer": schedule["transfer_id"],
        "schedule": Facts(schedule["schedule"]),
        "enabled": schedule["enabled"],
        "next_due_at": schedule["next_due_at"] or "",
        "expiration_date": schedule["expiration_date"] or "",
        "shutdown_instances": schedule["shutdown_instance"],
        "auto_deploy": schedule["auto_deploy"],
        "last_due_times": "\n".join(firings),
    }
    return list(shown), list(shown.values())


class _OneSchedule:
    """The parser of commands about one schedule."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the transfer's and the schedule's id."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]  # a mixin of cliff's
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        parser.add_argument("schedule", metavar="SCHEDULE", help="id")
        return parser


def _path(parsed: argparse.Namespace) -> str:
    return f"/transfers/{parsed.transfer}/schedules/{parsed.schedule}"


class ScheduleCreate(RestShow):
    """Have a transfer executed by itself."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        _options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Create the schedule; without a field it would fire each minute, so one must be given."""
        body = _body(parsed_args)
        if "schedule" not in body:
            raise InvalidInput("say when: at least one of " + ", ".join(f"--{name}" for name in FIELDS))
        return _record(self.api.object("POST", f"/transfers/{parsed_args.transfer}/schedules", "schedule", body))


class ScheduleList(RestLister):
    """List the schedules of a transfer."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each schedule."""
        found = self.api.objects(f"/transfers/{parsed_args.transfer}/schedules", "schedules")
        rows = [
            (
                each["id"],
                Facts(each["schedule"]),
                each["enabled"],
                each["next_due_at"] or "",
                each["firings"][0]["outcome"] if each["firings"] else "",
            )
            for each in found
        ]
        return ("ID", "Schedule", "Enabled", "Next due (UTC)", "Last"), rows


class ScheduleShow(_OneSchedule, RestShow):
    """Show a schedule and what became of its due times."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the schedule."""
        return _record(self.api.object("GET", _path(parsed_args), "schedule"))


class ScheduleUpdate(_OneSchedule, RestShow):
    """Change a schedule."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        _options(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Change what is named; fields of time replace all that there were."""
        return _record(self.api.object("PUT", _path(parsed_args), "schedule", _body(parsed_args)))


class ScheduleDelete(_OneSchedule, RestCommand):
    """Delete a schedule."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Delete it; what it has started goes on."""
        self.api.remove(_path(parsed_args))
        return 0
