"""`isthmus share snapshot …`: what shares held at one moment."""

import argparse

from isthmus.cli.rest import Record, Table
from isthmus.cli.share_watching import gone, settled
from isthmus.cli.shares import SharesCommand, SharesLister, SharesShow, no_wait_option


class SnapshotCreate(SharesShow):
    """Keep what a share holds now."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("share", metavar="SHARE", help="name or id")
        parser.add_argument("--name", help="a name for people")
        no_wait_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Record:
        """Take the snapshot and wait."""
        share = self.api.find_share(parsed_args.share)
        made = self.api.create_snapshot(share["id"], parsed_args.name)
        if not parsed_args.no_wait:
            made = settled(self.api, f"snapshot {made['id']}", lambda: self.api.snapshot(made["id"]))
        fields = ("id", "name", "status", "share_id", "created_at")
        return fields, [made[field] or "" for field in fields]


class SnapshotList(SharesLister):
    """List the snapshots of shares."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("--share", metavar="SHARE", help="only those of this share: name or id")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each snapshot."""
        only = self.api.find_share(parsed_args.share)["id"] if parsed_args.share else None
        rows = [
            (each["id"], each["name"] or "", each["share_id"], f"{each['size']} GiB", each["status"])
            for each in self.api.snapshots()
            if only in {None, each["share_id"]}
        ]
        return ("ID", "Name", "Share", "Size", "Status"), rows


class SnapshotDelete(SharesCommand):
    """Delete snapshots of shares."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("snapshots", metavar="SNAPSHOT", nargs="+", help="name or id")
        no_wait_option(parser)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Delete one after the other; the first error ends it."""
        for name in parsed_args.snapshots:
            found = self.api.find_snapshot(name)
            self.api.delete_snapshot(found["id"])
            if not parsed_args.no_wait:
                gone(self.api, f"snapshot {name}", lambda found=found: self.api.snapshot(found["id"]))  # type: ignore[misc]
        return 0
