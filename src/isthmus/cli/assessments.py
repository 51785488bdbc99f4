"""`isthmus assessment …`: what stands in the way of a migration, asked before it."""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

from isthmus.cli import inputs
from isthmus.cli.client import MigrationApi
from isthmus.cli.rest import Facts, Record, RestDelete, RestLister, RestShow, Table
from isthmus.control.errors import StepFailed

INTERVAL_SECONDS = 0.5
SEVERITIES = ("critical", "warning", "information")


def assess(api: MigrationApi, body: dict[str, Any], *, sleep: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Begin an assessment and return it when it has ended; StepFailed says why if it could not be completed."""
    made = api.object("POST", "/assessments", "assessment", {"assessment": body})
    while made["status"] == "RUNNING":
        sleep(INTERVAL_SECONDS)
        made = api.object("GET", f"/assessments/{made['id']}", "assessment")
    if made["status"] != "COMPLETED":
        raise StepFailed(f"assessment {made['id']} ended {made['status']}: {made['error']}")
    return made


def machines_of(api: MigrationApi, assessment_id: str) -> list[dict[str, Any]]:
    """Return all machines of an assessment."""
    return api.objects(f"/assessments/{assessment_id}/machines", "machines")


def concern_lines(concerns: Sequence[dict[str, Any]]) -> str:
    """Return a line for each concern."""
    return "\n".join(f"{each['severity']} {each['code']}: {each['message']}" for each in concerns)


def duration(seconds: float | None) -> str:
    """Return seconds as people read them."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: int | None) -> str:
    """Return bytes as people read them."""
    return "" if count is None else f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"


def basis_line(rates: dict[str, Any]) -> str:
    """Return what the estimates rest on."""
    named = {"copy": "copying", "scan": "reading", "changed": "changes", "rest": "deploying"}
    told = [
        f"{text} {rates[key]['basis']}" + (f" ({rates[key]['samples']})" if rates[key]["samples"] else "")
        for key, text in named.items()
    ]
    return ", ".join(told)


def _record(api: MigrationApi, assessment: dict[str, Any]) -> Record:
    names = {endpoint.id: endpoint.name for endpoint in api.endpoints()}
    result, progress = assessment["result"] or {}, assessment["progress"]
    to = assessment["destination_endpoint_id"]
    shown = {
        "id": assessment["id"],
        "status": assessment["status"],
        "error": assessment["error"] or "",
        "from": names.get(assessment["endpoint_id"], assessment["endpoint_id"]),
        "to": names.get(to, to) if to else "",
        "progress": f"{progress['done']} of {progress['total'] if progress['total'] is not None else '?'}",
        "machines": Facts(result.get("machines") or {}),
        "concerns": concern_lines(result.get("concerns") or []),
        "to_move": size(result.get("bytes_to_move")),
        "copying_takes": duration(result.get("seconds")),
        "longest_down_time": duration(result.get("longest_downtime_seconds")),
        "estimates_rest_on": basis_line(result["rates"]) if result else "",
    }
    return list(shown), list(shown.values())


class AssessmentCreate(RestShow):
    """Look for what stands in the way of migrating machines; changes nothing."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        add = parser.add_argument
        add("instances", nargs="*", metavar="INSTANCE", help="machines: names or ids (default: all of the cloud)")
        add("--from", dest="origin", required=True, metavar="ENDPOINT", help="the source cloud: name or id")
        add("--to", dest="destination", metavar="ENDPOINT", help="the destination cloud, if it is known")
        add("--network", action="append", nargs="+", default=[], metavar="SOURCE=DESTINATION", help="where NICs go")
        add("--storage", action="append", nargs="+", default=[], metavar="BACKEND=DESTINATION", help="where disks go")
        add("--default-storage", metavar="DESTINATION", help="where all other disks go")
        form = "FILE|JSON|KEY=VALUE"
        add("--source-environment", action="append", default=[], metavar=form, help="how to read the source")
        add("--destination-environment", action="append", default=[], metavar=form, help="how the machines shall be")
        add("--skip-os-morphing", action="store_true", help="the guests are left as they are")
        add("--no-clone", action="store_true", help="deployments use the replicas' own disks")
        add("--no-wait", action="store_true", help="return at once")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin the assessment and, unless told not to, wait for its end."""
        storage = [pair for group in parsed_args.storage for pair in group]
        body = {
            "endpoint_id": self.api.endpoint(parsed_args.origin).id,
            "destination_endpoint_id": self.api.endpoint(parsed_args.destination).id
            if parsed_args.destination
            else None,
            "instances": parsed_args.instances or None,
            "network_map": inputs.network_map([pair for group in parsed_args.network for pair in group]),
            "storage_mappings": inputs.storage_mappings(storage, parsed_args.default_storage),
            "source_environment": inputs.document("--source-environment", parsed_args.source_environment),
            "destination_environment": inputs.document(
                "--destination-environment", parsed_args.destination_environment
            ),
            "skip_os_morphing": parsed_args.skip_os_morphing,
            "clone_disks": not parsed_args.no_clone,
        }
        if parsed_args.no_wait:
            return _record(self.api, self.api.object("POST", "/assessments", "assessment", {"assessment": body}))
        return _record(self.api, assess(self.api, body))


class AssessmentList(RestLister):
    """List the assessments."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each assessment."""
        names = {endpoint.id: endpoint.name for endpoint in self.api.endpoints()}
        rows = []
        for each in self.api.objects("/assessments", "assessments"):
            counts = (each["result"] or {}).get("machines") or {}
            rows.append(
                (
                    each["id"],
                    names.get(each["endpoint_id"], ""),
                    names.get(each["destination_endpoint_id"] or "", ""),
                    each["status"],
                    each["progress"]["done"],
                    *(counts.get(severity, "") for severity in SEVERITIES),
                )
            )
        return ("ID", "From", "To", "Status", "Machines", "Critical", "Warning", "Information"), rows


class AssessmentShow(RestShow):
    """Show an assessment's summary."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("assessment", metavar="ASSESSMENT", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the assessment."""
        return _record(self.api, self.api.object("GET", f"/assessments/{parsed_args.assessment}", "assessment"))


class AssessmentMachines(RestLister):
    """List the machines of an assessment with their concerns."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("assessment", metavar="ASSESSMENT", help="id")
        parser.add_argument("--severity", choices=SEVERITIES, help="only machines whose worst concern is this")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each machine."""
        found = machines_of(self.api, parsed_args.assessment)
        rows = [
            (
                each["name"] or each["instance"],
                each["severity"] or "",
                concern_lines(each["concerns"]),
                size(each["bytes_to_move"]),
                duration(each["seconds"]),
                duration(each["downtime_seconds"]),
            )
            for each in found
            if parsed_args.severity in (None, each["severity"])
        ]
        return ("Machine", "Severity", "Concerns", "To move", "Copying", "Down time"), rows


class AssessmentDelete(RestDelete):
    """Delete assessments; one that runs is stopped."""

    subject = "assessment"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.remove(f"/assessments/{name}")
