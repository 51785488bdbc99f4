"""Bases of the commands that talk to the REST API."""

import argparse
import json
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

from cliff.columns import FormattableColumn
from cliff.command import Command
from cliff.lister import Lister
from cliff.show import ShowOne

from isthmus.cli.client import MigrationApi
from isthmus.cli.session import connect


class WithApi:
    """Gives a command its client, made from the global options."""

    app_args: argparse.Namespace

    @cached_property
    def api(self) -> MigrationApi:
        """Return a client of the API."""
        return MigrationApi(connect(self.app_args))


class RestCommand(WithApi, Command):  # type: ignore[misc]  # cliff is not followed by mypy
    """A command that prints what it likes."""


class RestLister(WithApi, Lister):  # type: ignore[misc]
    """A command that prints a table with one line for each object."""


class RestShow(WithApi, ShowOne):  # type: ignore[misc]
    """A command that prints one object."""


class RestDelete(RestCommand):
    """A command that deletes objects, one after the other; the first error ends it. `named` is how each is given."""

    subject: ClassVar[str]
    named: ClassVar[str] = "id"

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument("subjects", metavar=self.subject.upper(), nargs="+", help=self.named)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Delete what is named."""
        for name in parsed_args.subjects:
            self.delete(name)
        return 0

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete one."""


class Facts(FormattableColumn):  # type: ignore[misc]
    """An object: whole for programs, a line for each key for people."""

    def human_readable(self) -> str:
        """Return "key: value" lines."""
        return "\n".join(f"{key}: {_line(value)}" for key, value in self._value.items())


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


Table = tuple[Sequence[str], Iterable[Sequence[Any]]]
Record = tuple[Sequence[str], Sequence[Any]]
