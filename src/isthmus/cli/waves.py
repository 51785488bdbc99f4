"""`isthmus wave …`: transfers that are executed group after group."""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from isthmus.cli.rest import Record, RestCommand, RestDelete, RestLister, RestShow, Table
from isthmus.control.errors import InvalidInput, StepFailed, Unavailable

INTERVAL_SECONDS = 1.0
OUTAGE_SECONDS = 300
WAITS_FOR_US = frozenset({"AWAITING_APPROVAL"})
ENDED = frozenset({"COMPLETED", "ERROR", "CANCELED"})

Wave = Mapping[str, Any]


def groups_of(named: list[str], manual: list[str]) -> list[dict[str, Any]]:
    """Return groups from `NAME=TRANSFER,TRANSFER…` texts, in order. InvalidInput names what does not fit."""
    groups = []
    for text in named:
        name, separator, members = text.partition("=")
        transfers = [each.strip() for each in members.split(",") if each.strip()]
        if not separator or not name or not transfers:
            raise InvalidInput(f"--group {text!r} is not NAME=TRANSFER,TRANSFER…")
        gate = "manual" if name in manual else "auto"
        groups.append({"name": name, "gate": gate, "members": [{"transfer_id": each} for each in transfers]})
    unknown = sorted(set(manual) - {group["name"] for group in groups})
    if unknown:
        raise InvalidInput(f"--manual names {', '.join(unknown)}, which no --group has")
    return groups


def plan_in(file: str) -> dict[str, Any]:
    """Return the wave that a YAML or JSON file describes: what POST waves takes as `wave`."""
    import yaml  # noqa: PLC0415 - help must not wait for it

    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the plan {file} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise InvalidInput(f"the plan {file} is neither YAML nor JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"the plan {file} must hold an object: name, groups and what else POST waves takes")
    wave: dict[str, Any] = content.get("wave", content)
    return wave


def record(wave: Wave) -> Record:
    """Return a wave for people and programs: its groups as lines."""
    shown = {
        "id": wave["id"],
        "name": wave["name"],
        "status": wave["status"],
        "message": wave["message"] or "",
        "starts_at": wave["starts_at"] or "",
        "max_in_flight": wave["max_in_flight"],
        "auto_deploy": wave["auto_deploy"],
        "shutdown_instances": wave["shutdown_instances"],
        "after": "\n".join(wave["after"]),
        "groups": "\n".join(lines_of(wave)),
    }
    return list(shown), list(shown.values())


def lines_of(wave: Wave) -> list[str]:
    """Return a line for each group and each of its members."""
    lines = []
    for group in wave["groups"]:
        gate = " (manual, approved)" if group["approved"] else " (manual)" if group["gate"] == "manual" else ""
        lines.append(f"{group['status']:<18} {group['name']}{gate}")
        for member in group["members"]:
            which = f" ({', '.join(member['instances'])})" if member["instances"] else ""
            lines.append(f"  {member['status']:<16} {member['transfer_id']}{which}")
            if member["message"]:
                lines.append(f"    {member['message']}")
    return lines


def summary(wave: Wave) -> str:
    """Return a wave's state as one line."""
    counts = ", ".join(f"{count} {status}" for status, count in wave["counts"].items() if count)
    message = f": {wave['message']}" if wave["message"] else ""
    return f"{wave['status']} ({counts}){message}"


def follow(fetch: Callable[[], Wave], say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep) -> Wave:
    """Say each change of a wave until it has ended or waits for an approval, and return it.

    Raises Unavailable if the API does not answer for `OUTAGE_SECONDS`; the wave itself goes on all the same.
    """
    said, away = "", 0.0
    while True:
        try:
            wave = fetch()
        except Unavailable:
            away += INTERVAL_SECONDS
            if away > OUTAGE_SECONDS:
                raise
        else:
            away = 0.0
            if (line := summary(wave)) != said:
                said = line
                say(line)
            if wave["status"] in ENDED | WAITS_FOR_US:
                return wave
        sleep(INTERVAL_SECONDS)


class _OneWave:
    """The parser of commands about one wave."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the wave's id."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]  # a mixin of cliff's
        parser.add_argument("wave", metavar="WAVE", help="id")
        return parser


class WaveCreate(RestShow):
    """Plan transfers group after group."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add("name", metavar="NAME")
        add("--plan", metavar="FILE", help="YAML or JSON with all that POST waves takes; options win over it")
        add("--group", dest="groups", action="append", default=[], metavar="NAME=TRANSFER,…", help="in their order")
        add(
            "--manual", action="append", default=[], metavar="GROUP", help="this group waits for `isthmus wave approve`"
        )
        add("--starts-at", metavar="TIME", help="ISO 8601, like 2030-01-31T23:00:00Z; without it `isthmus wave start`")
        add("--max-in-flight", type=int, metavar="N", help="so many transfers at once at most (default 10)")
        add(
            "--auto-deploy", action=argparse.BooleanOptionalAction, help="deploy each machine when its copy is complete"
        )
        add("--shutdown-instances", action=argparse.BooleanOptionalAction, help="stop the machines before the copy")
        add("--after", action="append", default=[], metavar="WAVE", help="begin when this one is COMPLETED; repeatable")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Make it; nothing begins unless --starts-at says when."""
        given = {
            "name": parsed_args.name,
            "groups": groups_of(parsed_args.groups, parsed_args.manual) or None,
            "starts_at": parsed_args.starts_at,
            "max_in_flight": parsed_args.max_in_flight,
            "auto_deploy": parsed_args.auto_deploy,
            "shutdown_instances": parsed_args.shutdown_instances,
            "after": parsed_args.after or None,
        }
        plan = plan_in(parsed_args.plan) if parsed_args.plan else {}
        wanted = {**plan, **{key: value for key, value in given.items() if value is not None}}
        if "groups" not in wanted:
            raise InvalidInput("say which transfers: --group NAME=TRANSFER,TRANSFER… or --plan FILE")
        return record(self.api.object("POST", "/waves", "wave", {"wave": wanted}))


class WaveList(RestLister):
    """List the waves."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each wave."""
        rows = [
            (
                each["id"],
                each["name"],
                each["status"],
                f"{each['counts']['COMPLETED']}/{sum(each['counts'].values())}",
                each["counts"]["ERROR"] + each["counts"]["CANCELED"],
                each["starts_at"] or "",
            )
            for each in self.api.objects("/waves", "waves")
        ]
        return ("ID", "Name", "Status", "Completed", "Failed", "Starts at (UTC)"), rows


class WaveShow(_OneWave, RestShow):
    """Show a wave with its groups and members."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the wave."""
        return record(self.api.object("GET", f"/waves/{parsed_args.wave}", "wave"))


class _WaveAction(_OneWave, RestShow):
    """A command that asks one thing of a wave."""

    action: str

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Ask for it and return the wave."""
        body = {self.action: self.wishes(parsed_args)}
        return record(self.api.object("POST", f"/waves/{parsed_args.wave}/actions", "wave", body))

    def wishes(self, parsed_args: argparse.Namespace) -> dict[str, Any] | None:
        """Return what the action is given."""
        del parsed_args
        return None


class WaveStart(_WaveAction):
    """Start a wave now."""

    action = "start"


class WaveApprove(_WaveAction):
    """Let the group of a wave begin that waits for it."""

    action = "approve"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--group", metavar="NAME", help="approve this one, perhaps beforehand")
        return parser

    def wishes(self, parsed_args: argparse.Namespace) -> dict[str, Any] | None:
        """Return which group."""
        return {"group": parsed_args.group} if parsed_args.group else None


class WaveCancel(_WaveAction):
    """Stop a wave and undo what is in flight."""

    action = "cancel"


class WaveRetry(_WaveAction):
    """Take up the members of a wave that failed, and those alone."""

    action = "retry"


class WaveWatch(_OneWave, RestCommand):
    """Follow a wave to its end, or to a gate that waits for approval."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Return 0 if it completed or waits; an error names the members that failed."""
        name = parsed_args.wave
        wave = follow(lambda: self.api.object("GET", f"/waves/{name}", "wave"), self._say)
        if wave["status"] in {"ERROR", "CANCELED"}:
            raise StepFailed(f"wave {name} ended {summary(wave)} (`isthmus wave show {name}` tells more)")
        return 0

    def _say(self, line: str) -> None:
        self.app.stdout.write(f"{line}\n")
        self.app.stdout.flush()


class WaveDelete(RestDelete):
    """Delete waves that are not under way; their transfers stay."""

    subject = "wave"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.remove(f"/waves/{name}")
