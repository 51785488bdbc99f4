"""`isthmus deployment …`: machines made from a transfer's replicas."""

import argparse
from typing import Any

from cliff.columns import FormattableColumn

from isthmus.cli import inputs
from isthmus.cli.answers import Deployment
from isthmus.cli.display import choose
from isthmus.cli.executions import hold_option, instance_option, steps_text
from isthmus.cli.rest import Record, RestCommand, RestDelete, RestLister, RestShow, Table
from isthmus.cli.transfers import luks_option
from isthmus.cli.watching import follow_deployment


def _record(deployment: Deployment) -> Record:
    shown = {
        "id": deployment.id,
        "transfer": deployment.transfer_id,
        "status": deployment.last_execution_status,
        "instances": "\n".join(deployment.instances),
        "clone_disks": deployment.clone_disks,
        "skip_os_morphing": deployment.skip_os_morphing,
        "created_at": str(deployment.created_at or ""),
        "updated_at": str(deployment.updated_at or ""),
        "steps": steps_text(deployment.tasks),
        "result": _Result(deployment.transfer_result or {}),
    }
    return list(shown), list(shown.values())


class _Result(FormattableColumn):  # type: ignore[misc]  # cliff is not followed by mypy
    """What became of each instance: whole for programs, the main facts for people."""

    def human_readable(self) -> str:
        """Return some lines for each instance."""
        return "\n".join(line for instance, result in self._value.items() for line in _result_lines(instance, result))


def _result_lines(instance: str, result: dict[str, Any]) -> list[str]:
    machine, probe = result.get("machine") or {}, result.get("probe") or {}
    lines = [f"{instance}: is {machine.get('name', 'not made')} ({machine.get('id', 'no id')})"]
    if probe:
        lines.append(f"  probe saw {probe.get('saw')} after {probe.get('seconds', 0):.1f} s")
    if result.get("downtime_seconds") is not None:
        lines.append(f"  was down for {result['downtime_seconds']:.1f} s")
    changes = (result.get("morphing") or {}).get("changes") or ()
    return lines + [f"  morphing: {change}" for change in changes]


def _test(parsed_args: argparse.Namespace) -> dict[str, Any] | None:
    network = parsed_args.test_network
    return {"network": network, "minutes": parsed_args.test_minutes} if network else None


class DeploymentCreate(RestShow):
    """Start the machines of a transfer's replicas."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("transfer", metavar="TRANSFER", help="id")
        clone = parser.add_mutually_exclusive_group()
        clone.add_argument(
            "--clone", dest="clone", action="store_true", default=None, help="deploy clones of the disks"
        )
        clone.add_argument("--no-clone", dest="clone", action="store_false", help="deploy the replica's own disks")
        parser.add_argument("--skip-os-morphing", action="store_true", default=None, help="leave the guest as it is")
        parser.add_argument(
            "--script", action="append", default=[], metavar="PHASE=FILE", help="a script for the guest"
        )
        parser.add_argument("--force", action="store_true", help="also if the last execution did not complete")
        instance_option(parser)
        hold_option(parser)
        parser.add_argument("--test-network", metavar="NETWORK", help="only test that they live, on this network")
        parser.add_argument(
            "--test-minutes", type=int, default=0, metavar="N", help="so long they stay, or until the test is cancelled"
        )
        luks_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin; `isthmus deployment watch DEPLOYMENT` follows it. What is not given is as the transfer says."""
        wanted: dict[str, Any] = {
            "transfer_id": parsed_args.transfer,
            "clone_disks": parsed_args.clone,
            "skip_os_morphing": parsed_args.skip_os_morphing,
            "user_scripts": inputs.user_scripts(parsed_args.script),
            "force": parsed_args.force,
            "instances": parsed_args.instances or None,
            "hold_on_error": parsed_args.hold_on_error,
            "test": _test(parsed_args),
            "luks_secret_ref": parsed_args.luks_secret,
        }
        return _record(self.api.deploy({key: value for key, value in wanted.items() if value is not None}))


class DeploymentList(RestLister):
    """List the deployments."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each deployment."""
        rows = [
            (
                item.id,
                item.transfer_id,
                ", ".join(item.instances),
                item.last_execution_status,
                str(item.created_at or ""),
            )
            for item in self.api.deployments()
        ]
        return ("ID", "Transfer", "Instances", "Status", "Begun"), rows


class _OneDeployment:
    """The parser of commands about one deployment."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the deployment's id."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)  # type: ignore[misc]  # a mixin of cliff's
        parser.add_argument("deployment", metavar="DEPLOYMENT", help="id")
        return parser


class DeploymentShow(_OneDeployment, RestShow):
    """Show one deployment and its steps."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the deployment."""
        return _record(self.api.deployment(parsed_args.deployment))


class DeploymentWatch(_OneDeployment, RestCommand):
    """Follow a deployment to its end."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Return 0 if it completed; an error names the failed steps."""
        display = choose(watch=True, stream=self.app.stderr)
        try:
            follow_deployment(self.api, parsed_args.deployment, display)
        finally:
            display.finish()
        return 0


class DeploymentCancel(_OneDeployment, RestCommand):
    """Stop a deployment and undo what it began."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--force", action="store_true", help="also stop an undo that does not get on")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Ask for it; `isthmus deployment watch DEPLOYMENT` shows when it is done."""
        self.api.cancel_deployment(parsed_args.deployment, force=parsed_args.force)
        return 0


class DeploymentRetry(_OneDeployment, RestShow):
    """Take up what failed in a deployment: its held steps, or in a new one the instances."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        instance_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin; `isthmus deployment watch DEPLOYMENT` follows it."""
        return _record(self.api.retry_deployment(parsed_args.deployment, parsed_args.instances))


class DeploymentDelete(RestDelete):
    """Delete the records of ended deployments."""

    subject = "deployment"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.delete_deployment(name)
