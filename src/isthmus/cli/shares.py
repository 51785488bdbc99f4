"""`isthmus share …`: shared file systems of one project, with waiting. `openstack share` can do all the rest."""

import argparse
from functools import cached_property
from typing import Any

from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

from isthmus.cli.client import JSON
from isthmus.cli.rest import Record, Table
from isthmus.cli.session import connect_shares
from isthmus.cli.share_api import SharesApi
from isthmus.cli.share_watching import gone, settled
from isthmus.control.errors import NotFound


class WithShares:
    """Gives a command its client, made from the global options."""

    app_args: argparse.Namespace

    @cached_property
    def api(self) -> SharesApi:
        """Return a client of the shares API."""
        return SharesApi(connect_shares(self.app_args))


class SharesCommand(WithShares, Command):  # type: ignore[misc]  # cliff is not followed by mypy
    """A command that prints nothing."""


class SharesLister(WithShares, Lister):  # type: ignore[misc]
    """A command that prints a table with one line for each object."""


class SharesShow(WithShares, ShowOne):  # type: ignore[misc]
    """A command that prints one object."""


def no_wait_option(parser: argparse.ArgumentParser) -> None:
    """Add the option not to wait."""
    parser.add_argument("--no-wait", action="store_true", help="return as soon as it is begun")


def share_record(api: SharesApi, share: JSON) -> Record:
    """Return a share as a table of its fields, with how and by whom it can be mounted."""
    rules = [f"{rule['access_to']} ({rule['access_level']}, {rule['state']})" for rule in api.rules(share["id"])]
    shown = {
        "id": share["id"],
        "name": share["name"] or "",
        "status": share["status"],
        "size": f"{share['size']} GiB",
        "protocol": share["share_proto"],
        "type": share["share_type_name"] or "",
        "mount": "\n".join(api.exports(share["id"])),
        "clients": "\n".join(rules),
        "snapshot": share["snapshot_id"] or "",
        "zone": share["availability_zone"] or "",
        "created_at": share["created_at"],
    }
    return list(shown), list(shown.values())


class ShareCreate(SharesShow):
    """Create a share and wait until it can be mounted."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("size", type=int, metavar="GIB", help="how much it holds, in GiB")
        parser.add_argument("--name", help="a name for people")
        parser.add_argument("--protocol", default="NFS", metavar="PROTOCOL", help="NFS or CIFS (default: NFS)")
        parser.add_argument("--type", metavar="TYPE", help="the share type (default: the service's)")
        parser.add_argument("--snapshot", metavar="SNAPSHOT", help="what it shall hold at first: name or id")
        parser.add_argument("--client", action="append", default=[], metavar="CLIENT", help="who may mount and write")
        no_wait_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Create it, wait, and let the clients in."""
        body: dict[str, Any] = {"size": parsed_args.size, "share_proto": parsed_args.protocol}
        given = {"name": parsed_args.name, "share_type": parsed_args.type}
        body.update({name: value for name, value in given.items() if value is not None})
        if parsed_args.snapshot:
            body["snapshot_id"] = self.api.find_snapshot(parsed_args.snapshot)["id"]
        share = self.api.create_share(body)
        # Clients can only be let in when it is there.
        if parsed_args.client or not parsed_args.no_wait:
            share = settled(self.api, f"share {share['id']}", lambda: self.api.share(share["id"]))
        for client in parsed_args.client:
            rule = self.api.allow(share["id"], client, "rw")
            if not parsed_args.no_wait:
                settled(self.api, f"rule for {client}", lambda rule=rule: self.api.rule(rule["id"]))  # type: ignore[misc]
        return share_record(self.api, share)


class ShareList(SharesLister):
    """List the shares."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each share."""
        rows = [
            (each["id"], each["name"] or "", f"{each['size']} GiB", each["share_proto"], each["status"])
            for each in self.api.shares()
        ]
        return ("ID", "Name", "Size", "Protocol", "Status"), rows


class ShareServiceList(SharesLister):
    """List back ends and whether their storage answers."""

    def take_action(self, parsed_args: argparse.Namespace) -> Table:  # noqa: ARG002 - cliff's
        """Return one line for each back end."""
        rows = [
            (
                each["host"],
                each["zone"],
                each["status"],
                each["state"],
                "answers" if each["isthmus:answers"] else each["isthmus:trouble"] or "does not answer",
            )
            for each in self.api.services()
        ]
        return ("Back end", "Zone", "Status", "Manager", "Storage"), rows


class ShareShow(SharesShow):
    """Show one share, who may mount it and how."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("share", metavar="SHARE", help="name or id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Return the share."""
        return share_record(self.api, self.api.find_share(parsed_args.share))


class ShareExtend(SharesShow):
    """Make a share larger."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("share", metavar="SHARE", help="name or id")
        parser.add_argument("size", type=int, metavar="GIB", help="how much it shall hold in all, in GiB")
        no_wait_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Extend it and wait."""
        share = self.api.find_share(parsed_args.share)
        self.api.extend_share(share["id"], parsed_args.size)
        if parsed_args.no_wait:
            return share_record(self.api, self.api.share(share["id"]))
        share = settled(self.api, f"share {parsed_args.share}", lambda: self.api.share(share["id"]))
        return share_record(self.api, share)


class ShareAllow(SharesShow):
    """Let a client mount a share."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("share", metavar="SHARE", help="name or id")
        parser.add_argument("client", metavar="CLIENT", help="an address, a network as 10.0.0.0/24, or a user's name")
        parser.add_argument("--read-only", action="store_true", help="it may not write")
        no_wait_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Let the client in and wait until that holds."""
        share = self.api.find_share(parsed_args.share)
        rule = self.api.allow(share["id"], parsed_args.client, "ro" if parsed_args.read_only else "rw")
        if not parsed_args.no_wait:
            rule = settled(self.api, f"rule for {parsed_args.client}", lambda: self.api.rule(rule["id"]))
        fields = ("id", "access_type", "access_to", "access_level", "state")
        return fields, [rule[field] for field in fields]


class ShareDeny(SharesCommand):
    """Let a client mount a share no more."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("share", metavar="SHARE", help="name or id")
        parser.add_argument("client", metavar="CLIENT", help="as it was allowed, or the rule's id")
        no_wait_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Take the client's rules away and wait until that holds."""
        share = self.api.find_share(parsed_args.share)
        rules = self.api.rules(share["id"])
        named = [rule for rule in rules if parsed_args.client in {rule["id"], rule["access_to"]}]
        if not named:
            raise NotFound(
                f"share {parsed_args.share} has no rule for '{parsed_args.client}': `isthmus share show` tells who may"
            )
        for rule in named:
            self.api.deny(share["id"], rule["id"])
            if not parsed_args.no_wait:
                gone(self.api, f"rule for {parsed_args.client}", lambda rule=rule: self.api.rule(rule["id"]))  # type: ignore[misc]
        return 0


class ShareDelete(SharesCommand):
    """Delete shares with all they hold."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("shares", metavar="SHARE", nargs="+", help="name or id")
        no_wait_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Delete one after the other; the first error ends it."""
        for name in parsed_args.shares:
            share = self.api.find_share(name)
            self.api.delete_share(share["id"])
            if not parsed_args.no_wait:
                gone(self.api, f"share {name}", lambda share=share: self.api.share(share["id"]))  # type: ignore[misc]
        return 0
