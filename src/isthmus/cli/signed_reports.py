"""`isthmus report …`: signed reports of moved machines; checking one needs no control plane."""

import argparse
from pathlib import Path
from urllib.parse import quote

from isthmus.cli.rest import RestCommand, RestLister, Table
from isthmus.control.errors import InvalidInput

DOCUMENT, SIGNATURE = ".report.json", ".report.sig"


def written(directory: Path, instance: str, document: str, signature: str) -> Path:
    """Write a report and, beside it, its signature; return the report's file. InvalidInput if that cannot be done."""
    name = quote(instance, safe="")
    file = directory / f"{name}{DOCUMENT}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Bytes: the signature is over them, so no line ending may change.
        file.write_bytes(document.encode())
        (directory / f"{name}{SIGNATURE}").write_text(f"{signature}\n", encoding="ascii")
    except OSError as error:
        raise InvalidInput(f"the report of {instance} cannot be written to {directory}: {error.strerror}") from error
    return file


def read(file: Path) -> bytes:
    """Return a file's bytes; InvalidInput if it cannot be read."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}") from error


def signature_file(report: Path) -> Path:
    """Return where the signature of a report is looked for."""
    name = report.name
    return report.with_name(f"{name.removesuffix(DOCUMENT)}{SIGNATURE}" if name.endswith(DOCUMENT) else f"{name}.sig")


class ReportFetch(RestLister):
    """Save the signed reports of a deployment's machines."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("deployment", metavar="DEPLOYMENT", help="id")
        parser.add_argument("--directory", default=".", help="where to (default: here)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Table:
        """Return one line for each machine: its report's file and the key's id."""
        found = self.api.get(f"/deployments/{parsed_args.deployment}/report")["reports"]
        directory = Path(parsed_args.directory)
        rows = [
            (
                each["instance"],
                str(written(directory, each["instance"], each["document"], each["signature"])),
                each["key_id"],
            )
            for each in found
        ]
        return ("Instance", "File", "Key"), rows


class ReportKey(RestCommand):
    """Print the public key that reports are signed with."""

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Print it as PEM; keep it where nobody can change it."""
        del parsed_args
        self.app.stdout.write(self.api.get("/report-key")["report_key"]["public_key"])
        return 0


class ReportVerify(RestCommand):
    """Check that a report is what the control plane has signed."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("report", metavar="FILE", help="as `isthmus report fetch` has saved it")
        parser.add_argument("--signature", metavar="FILE", help="its signature (default: the file beside it)")
        parser.add_argument("--key", metavar="FILE", help="the public key as PEM (default: the API's)")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Say so if it fits; an error if the report, the signature or the key were changed."""
        from isthmus.control import signing  # noqa: PLC0415 - help must not wait for it

        report = Path(parsed_args.report)
        signature = read(Path(parsed_args.signature) if parsed_args.signature else signature_file(report))
        key = (
            read(Path(parsed_args.key)).decode("ascii", "replace")
            if parsed_args.key
            else str(self.api.get("/report-key")["report_key"]["public_key"])
        )
        signing.verify(key, read(report), signature.decode("ascii", "replace"))
        self.app.stdout.write(f"{report}: signed by key {signing.key_id_of(key)}, unchanged\n")
        return 0
