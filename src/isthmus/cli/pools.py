"""`isthmus pool …`: minion pools."""

import argparse
from typing import Any

from isthmus.cli.rest import Record, RestDelete, RestLister, RestShow, Table


def _record(pool: dict[str, Any]) -> Record:
    machines = (
        f"{each['id']} {each['allocation_status']} {each['power_status']} {each['allocated_action'] or ''}".strip()
        for each in pool["minion_machines"]
    )
    shown = {
        "id": pool["id"],
        "name": pool["name"],
        "endpoint": pool["endpoint_id"],
        "side": pool["platform"],
        "os_type": pool["os_type"],
        "status": pool["status"],
        "machines": f"{pool['minimum_minions']} to {pool['maximum_minions']}",
        "max_idle_seconds": pool["minion_max_idle_time"],
        "retention": pool["minion_retention_strategy"],
        "notes": pool["notes"] or "",
        "minion_machines": "\n".join(machines),
        "events": "\n".join(f"{each['created_at']} {each['level']} {each['message']}" for each in pool["events"]),
    }
    return list(shown), list(shown.values())


def _limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minimum", type=int, metavar="N", help="machines that are always there (1)")
    parser.add_argument("--maximum", type=int, metavar="N", help="machines at most (the minimum)")
    parser.add_argument("--max-idle", type=int, metavar="SECONDS", help="after which a machine is given up (1)")
    parser.add_argument("--retention", choices=["delete", "poweroff"], help="what is done with an idle machine")
    parser.add_argument("--notes", help="a note")


def _body(parsed: argparse.Namespace) -> dict[str, Any]:
    given = {
        "name": parsed.name,
        "minimum_minions": parsed.minimum,
        "maximum_minions": parsed.maximum,
        "minion_max_idle_time": parsed.max_idle,
        "minion_retention_strategy": parsed.retention,
        "notes": parsed.notes,
    }
    return {key: value for key, value in given.items() if value is not None}


class PoolCreate(RestShow):
    """Limit how many machines of an endpoint are at work at once."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--name", required=True, help="your name for it")
        parser.add_argument("--endpoint", required=True, help="name or id")
        parser.add_argument("--side", choices=["source", "destination"], required=True, help="which end of transfers")
        parser.add_argument("--os-type", choices=["linux", "windows"], default="linux")
        parser.add_argument("--skip-allocation", action="store_true", help="allocate it later")
        _limits(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Create the pool."""
        body = {
            **_body(parsed_args),
            "endpoint_id": self.api.endpoint(parsed_args.endpoint).id,
            "platform": parsed_args.side,
            "os_type": parsed_args.os_type,
            "environment_options": {},
            "skip_allocation": parsed_args.skip_allocation,
        }
        return _record(self.api.object("POST", "/minion_pools", "minion_pool", {"minion_pool": body}))


class PoolList(RestLister):
    """List the minion pools."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each pool."""
        rows = [
            (
                each["id"],
                each["name"],
                each["platform"],
                each["status"],
                sum(machine["allocation_status"] == "IN_USE" for machine in each["minion_machines"]),
                each["maximum_minions"],
            )
            for each in self.api.objects("/minion_pools", "minion_pools")
        ]
        return ("ID", "Name", "Side", "Status", "In use", "At most"), rows


class _OnePool(RestShow):
    """A command about one pool."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("pool", metavar="POOL", help="id")
        return parser

    def act(self, parsed: argparse.Namespace, action: str, value: object = None) -> Record:
        """Begin an action and return the pool."""
        path = f"/minion_pools/{parsed.pool}/actions"
        return _record(self.api.object("POST", path, "minion_pool", {action: value}))


class PoolShow(_OnePool):
    """Show a minion pool with its machines and events."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the pool."""
        return _record(self.api.object("GET", f"/minion_pools/{parsed_args.pool}", "minion_pool"))


class PoolUpdate(_OnePool):
    """Change a minion pool."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", help="your name for it")
        _limits(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Change what is named."""
        body = {"minion_pool": _body(parsed_args)}
        return _record(self.api.object("PUT", f"/minion_pools/{parsed_args.pool}", "minion_pool", body))


class PoolAllocate(_OnePool):
    """Have a minion pool give machines."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin."""
        return self.act(parsed_args, "allocate")


class PoolRefresh(_OnePool):
    """Check a minion pool's cloud and machines."""

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin."""
        return self.act(parsed_args, "refresh")


class PoolDeallocate(_OnePool):
    """Have a minion pool give no machines any more."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--force", action="store_true", help="at once, whatever its machines do")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Begin."""
        return self.act(parsed_args, "deallocate", {"force": parsed_args.force})


class PoolDelete(RestDelete):
    """Delete minion pools."""

    subject = "pool"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.remove(f"/minion_pools/{name}")
