"""`isthmus region …`, `isthmus service …`, `isthmus diagnostics`: what an administrator sees of the installation."""

import argparse
import json
from typing import Any

from isthmus.cli.rest import Record, RestCommand, RestDelete, RestLister, RestShow, Table


def _region(region: dict[str, Any]) -> Record:
    shown = {
        "id": region["id"],
        "name": region["name"],
        "description": region["description"] or "",
        "enabled": region["enabled"],
        "endpoints": "\n".join(region["mapped_endpoints"]),
        "services": "\n".join(region["mapped_services"]),
    }
    return list(shown), list(shown.values())


def _service(service: dict[str, Any]) -> Record:
    shown = {
        "id": service["id"],
        "host": service["host"],
        "binary": service["binary"],
        "topic": service["topic"],
        "status": service["status"],
        "enabled": service["enabled"],
        "regions": ", ".join(service["mapped_regions"]),
        "providers": ", ".join(sorted(service["providers"])),
        "release": service["specs"].get("release_tag") or "",
        "workers": "\n".join(_worker(each) for each in service["workers"]),
    }
    return list(shown), list(shown.values())


def _worker(worker: dict[str, Any]) -> str:
    free, total = (worker[key] / 2**30 for key in ("staging_free_bytes", "staging_bytes"))
    link = f", link {worker['link_bandwidth'] / 2**20:.0f} MiB/s" if worker["link_bandwidth"] else ""
    return (
        f"{worker['id']} {worker['status']}, heard of {worker['seconds_silent']} s ago; regions "
        f"{', '.join(worker['regions'])}; disk steps {worker['disk_steps']} of {worker['slots']}, "
        f"{worker['running']} at work in all; staging {free:.1f} of {total:.1f} GiB free{link}"
    )


def _summary(workers: list[dict[str, Any]]) -> tuple[str, str, str]:
    """Return how many workers are up, how many disk steps they have, and the most room that one of them has."""
    up = [each for each in workers if each["status"] == "UP"]
    steps, slots = (sum(each[key] for each in up) for key in ("disk_steps", "slots"))
    room = max((each["staging_free_bytes"] for each in up), default=0) / 2**30
    return f"{len(up)} of {len(workers)} up", f"{steps} of {slots}", f"{room:.1f} GiB"


def _enabled(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--enabled", action=argparse.BooleanOptionalAction, help="whether it is used")


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


class RegionCreate(RestShow):
    """Name a place whose workers reach certain clouds."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="NAME", help="also the name in [worker] queues of its workers")
        parser.add_argument("--description", help="a note")
        _enabled(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Create the region."""
        body = _given(name=parsed_args.name, description=parsed_args.description, enabled=parsed_args.enabled)
        return _region(self.api.object("POST", "/regions", "region", {"region": body}))


class RegionList(RestLister):
    """List the regions."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each region."""
        found = self.api.objects("/regions", "regions")
        rows = [(each["id"], each["name"], each["description"] or "", each["enabled"]) for each in found]
        return ("ID", "Name", "Description", "Enabled"), rows


class RegionShow(RestShow):
    """Show a region with what is mapped to it."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("region", metavar="REGION", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the region."""
        return _region(self.api.object("GET", f"/regions/{parsed_args.region}", "region"))


class RegionUpdate(RegionShow):
    """Change a region."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--name", help="its new name")
        parser.add_argument("--description", help="a note")
        _enabled(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Change what is named."""
        body = _given(name=parsed_args.name, description=parsed_args.description, enabled=parsed_args.enabled)
        return _region(self.api.object("PUT", f"/regions/{parsed_args.region}", "region", {"region": body}))


class RegionDelete(RestDelete):
    """Delete regions."""

    subject = "region"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.remove(f"/regions/{name}")


class ServiceCreate(RestShow):
    """Register the worker of a host."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("host", metavar="HOST", help="as its hostname command tells it")
        parser.add_argument("--binary", default="isthmus-worker")
        parser.add_argument("--topic", default="isthmus_worker")
        parser.add_argument("--region", action="append", default=[], metavar="REGION", help="id")
        _enabled(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Register it; a worker must answer on that host."""
        body = _given(
            host=parsed_args.host,
            binary=parsed_args.binary,
            topic=parsed_args.topic,
            mapped_regions=parsed_args.region,
            enabled=parsed_args.enabled,
        )
        return _service(self.api.object("POST", "/services", "service", {"service": body}))


class ServiceList(RestLister):
    """List the services and whether they are up."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each service."""
        rows = [
            (
                each["id"],
                each["host"],
                each["binary"],
                ", ".join(each["mapped_regions"]),
                each["enabled"],
                each["status"],
                *_summary(each["workers"]),
            )
            for each in self.api.objects("/services", "services")
        ]
        columns = ("ID", "Host", "Binary", "Regions", "Enabled", "Status", "Workers", "Disk steps", "Staging free")
        return columns, rows


class ServiceShow(RestShow):
    """Show a service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("service", metavar="SERVICE", help="id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the service."""
        return _service(self.api.object("GET", f"/services/{parsed_args.service}", "service"))


class ServiceUpdate(ServiceShow):
    """Change a service."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("--region", action="append", metavar="REGION", help="id; replaces all that there were")
        _enabled(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Change what is named."""
        body = _given(mapped_regions=parsed_args.region, enabled=parsed_args.enabled)
        return _service(self.api.object("PUT", f"/services/{parsed_args.service}", "service", {"service": body}))


class ServiceDelete(RestDelete):
    """Forget services."""

    subject = "service"

    def delete(self, name: str) -> None:
        """Delete one."""
        self.api.remove(f"/services/{name}")


class Diagnostics(RestCommand):
    """Print what each process tells of itself, as JSON."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:  # noqa: ARG002 - cliff's
        """Print it."""
        records: Any = self.api.object("GET", "/diagnostics", "diagnostics")
        self.app.stdout.write(json.dumps(records, indent=2) + "\n")
        return 0
