"""`isthmus api|conductor|worker|share-manager|network-agent|db upgrade`: one service in the foreground until SIGTERM.

The imports are inside the commands: a worker must start on a machine that has no database driver.
"""

import argparse
from abc import abstractmethod
from typing import Any

from cliff.command import Command

from isthmus.control import readiness
from isthmus.control.configuration import load
from isthmus.control.errors import InvalidInput
from isthmus.control.heaps import settle, share_heaps
from isthmus.control.sparing import UNUSED, without


class Service(Command):  # type: ignore[misc]  # cliff is not followed by mypy
    """A command that runs with a configuration file."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser with the one option of all services."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--config-file",
            metavar="FILE",
            action="append",
            default=[],
            help="isthmus.conf; may be given again, later files win",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Load the configuration and run."""
        share_heaps()
        arguments = [f"--config-file={name}" for name in parsed_args.config_file]
        if self.app_args is not None and self.app_args.debug:
            arguments.append("--debug")
        readiness.claim()
        self.serve(load(arguments))
        return 0

    @abstractmethod
    def serve(self, conf: Any) -> None:
        """Do the service's work and return when it has been stopped."""


class Api(Service):
    """Run the API service until it is told to stop."""

    def serve(self, conf: Any) -> None:
        """Serve the REST API."""
        from isthmus.control.listener import serve  # noqa: PLC0415 - see the module's docstring

        if not conf.api.serves:
            raise InvalidInput("[api] serves names no service; name migration, shares or both")
        serve(conf, "isthmus.serving:make_application", "isthmus.serving:load")


class Conductor(Service):
    """Run a conductor until it is told to stop."""

    def serve(self, conf: Any) -> None:
        """Dispatch accepted work and run the workflows."""
        with without(*UNUSED):
            from isthmus.migration.services.conductor import run  # noqa: PLC0415 - see the module's docstring

        settle()
        run(conf)


class Worker(Service):
    """Run a worker until it is told to stop."""

    def serve(self, conf: Any) -> None:
        """Run the steps of workflows."""
        with without(*UNUSED):
            from isthmus.migration.services.worker import run  # noqa: PLC0415 - see the module's docstring

        settle()
        run(conf)


class ShareManager(Service):
    """Run a share manager until it is told to stop."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--backends",
            metavar="NAME,…",
            type=lambda text: tuple(text.split(",")),
            default=(),
            help="serve only these of the enabled back ends",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        """Load the configuration and run."""
        self._only: tuple[str, ...] = parsed_args.backends
        return super().take_action(parsed_args)

    def serve(self, conf: Any) -> None:
        """Carry out what the shares API accepted."""
        from isthmus.shares.services.manager import run  # noqa: PLC0415 - see the module's docstring

        settle()
        run(conf, self._only)


class NetworkAgent(Service):
    """Run this host's network agent until it is told to stop."""

    def serve(self, conf: Any) -> None:
        """Attach what Docker, container runtimes and `isthmus port` ask for."""
        from isthmus.networking.services.agent import run  # noqa: PLC0415 - see the module's docstring

        settle()
        run(conf)


class DatabaseUpgrade(Service):
    """Bring the database's schema up to date."""

    def serve(self, conf: Any) -> None:
        """Run all migrations that are missing; a database that is up to date is left as it is."""
        from isthmus.control.migrations import upgrade  # noqa: PLC0415 - see the module's docstring

        upgrade(conf.database.connection)
