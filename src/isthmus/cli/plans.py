"""What would be done: `isthmus transfer plan`, and `isthmus migrate --dry-run`. Nothing is changed."""

import argparse
from typing import Any

from isthmus.cli.assessments import assess, concern_lines, duration, machines_of, size
from isthmus.cli.client import MigrationApi
from isthmus.cli.rest import Record, RestLister, Table
from isthmus.control.errors import StepFailed

WHEN = {"forward": "", "always": "also after a failure", "on-error": "only after a failure"}


class TransferPlan(RestLister):
    """Show the steps that an execution would run; changes nothing."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        parser.add_argument("--shutdown-instances", action="store_true", help="as if the machines were stopped first")
        parser.add_argument("--auto-deploy", action="store_true", help="and the deployment that would follow")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each step."""
        wanted = {"shutdown_instances": parsed_args.shutdown_instances, "auto_deploy": parsed_args.auto_deploy}
        plan = self.api.object("POST", f"/transfers/{parsed_args.transfer}/actions", "plan", {"plan": wanted})
        rows = [
            (execution["type"], step["task_type"], step["instance"], step["region"], WHEN[step["when"]])
            for execution in plan["executions"]
            for step in execution["steps"]
        ]
        return ("Execution", "Step", "Instance", "Region", "When"), rows


def dry_run(api: MigrationApi, transfer: dict[str, Any], syncs: int) -> Record:
    """Return what migrating one machine would meet and do; StepFailed if something critical stands in the way.

    The assessment is deleted again, and no transfer is made.
    """
    passes = api.object("POST", "/plans", "plan", {"transfer": transfer})
    last = {"shutdown_instances": True, "auto_deploy": True}
    cut_over = api.object("POST", "/plans", "plan", {"transfer": transfer, "execution": last})
    names = (
        "source_environment",
        "destination_environment",
        "network_map",
        "storage_mappings",
        "clone_disks",
        "skip_os_morphing",
    )
    asked = {name: transfer[name] for name in names}
    ends = {
        "endpoint_id": transfer["origin_endpoint_id"],
        "destination_endpoint_id": transfer["destination_endpoint_id"],
    }
    assessment = assess(api, {**asked, **ends, "instances": transfer["instances"]})
    machine = machines_of(api, assessment["id"])[0]
    api.remove(f"/assessments/{assessment['id']}")
    critical = [each for each in machine["concerns"] if each["severity"] == "critical"]
    if critical:
        raise StepFailed(f"this migration would fail: {'; '.join(each['message'] for each in critical)}")
    shown = {
        "machine": machine["name"],
        "concerns": concern_lines(machine["concerns"]) or "none",
        "to_move": size(machine["bytes_to_move"]),
        "first_pass_takes": duration(machine["seconds"]),
        "down_time": duration(machine["downtime_seconds"]),
        f"pass ({syncs} times)": _steps(passes["executions"][0]),
        "last pass": _steps(cut_over["executions"][0]),
        "deployment": _steps(cut_over["executions"][1]),
    }
    return list(shown), list(shown.values())


def _steps(execution: dict[str, Any]) -> str:
    forward = [each for each in execution["steps"] if each["when"] != "on-error"]
    return "\n".join(each["task_type"] for each in forward)
