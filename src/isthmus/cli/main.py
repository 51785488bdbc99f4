"""The `isthmus` command: one program for the control plane, its services and their users.

Exit codes: 0 done, 1 an error (one line on standard error says which), 2 wrong usage, 130 interrupted.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cliff.app import App
from cliff.command import Command

from isthmus.cli.commands import COMMANDS, CommandTable, LazyCommand
from isthmus.control.errors import IsthmusError

DONE, FAILED, WRONG_USAGE, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


class IsthmusApp(App):  # type: ignore[misc]  # cliff is not followed by mypy
    """cliff's application, with help that imports nothing and errors of one line."""

    NAME = "isthmus"
    options: argparse.Namespace

    def __init__(self) -> None:
        super().__init__("Open-source cloud mobility", version("isthmus"), CommandTable(), deferred_help=True)

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: object = None,  # noqa: ARG002 - cliff's
    ) -> argparse.ArgumentParser:
        """Return the parser of the options that every command takes, before or after its words."""
        parser = argparse.ArgumentParser("isthmus", "isthmus [options] COMMAND …", description, add_help=False)
        # Abbreviations would steal a command's own options: `--os` or `--no` are known to no command's author.
        parser.allow_abbrev = False
        parser.add_argument("-h", "--help", action="store_true", help="show help, of a command if one is named")
        parser.add_argument("--version", action="version", version=f"isthmus {version}")
        parser.add_argument("--debug", action="store_true", help="log more and show tracebacks")
        cloud = parser.add_argument_group("which Isthmus (else OS_* variables and clouds.yaml; no secret is an option)")
        for name, text in CLOUD_OPTIONS.items():
            cloud.add_argument(f"--{name}", help=text, metavar="VALUE")
        cloud.add_argument("--no-auth", action="store_true", help="use an API that asks for no token (tests)")
        cloud.add_argument("--insecure", action="store_true", default=None, help="do not check the TLS certificate")
        return parser

    def configure_logging(self) -> None:
        """Send warnings, or with --debug everything, to standard error."""
        level = logging.DEBUG if self.options.debug else logging.WARNING
        logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=self.stderr)

    def run(self, argv: Sequence[str]) -> int:
        """Run one command and return its exit code."""
        self.options, words = self.parser.parse_known_args(argv)
        self.configure_logging()
        try:
            if self.options.help or not words:
                return self.show_help(words)
            return self.run_subcommand(words)
        except IsthmusError as error:
            return self.fail(error.message)
        except BrokenPipeError:
            return PIPE_CLOSED
        except KeyboardInterrupt:
            return INTERRUPTED

    def run_subcommand(self, argv: list[str]) -> int:
        """Find the command, parse its arguments, run it."""
        command = self.load(argv)
        if command is None:
            return self.wrong_words(argv)
        factory, name, arguments = command
        instance = factory(self, self.options, cmd_name=name)
        parsed = instance.get_parser(f"isthmus {name}").parse_args(arguments)
        try:
            return int(instance.run(parsed))
        except (IsthmusError, BrokenPipeError):
            if self.options.debug:
                logging.getLogger("isthmus").debug("the command failed", exc_info=True)
            raise
        except Exception as error:
            # The last frame before the user: an unforeseen error is one line too, unless --debug asks for all of it.
            if self.options.debug:
                raise
            return self.fail(f"unexpected {type(error).__name__}: {error}; run again with --debug and report it")

    def load(self, argv: list[str]) -> tuple[type[Command], str, list[str]] | None:
        """Return the class, the words and the arguments of a command line; None if there is no such command."""
        try:
            found: tuple[type[Command], str, list[str]] = self.command_manager.find_command(argv)
        except ValueError:
            return None
        return found

    def show_help(self, words: list[str]) -> int:
        """Print the help of the named command, of a group of commands, or of all."""
        command = self.load(words) if words else None
        if command is not None:
            factory, name, _ = command
            instance = factory(self, self.options, cmd_name=name)
            instance.get_parser(f"isthmus {name}").print_help(self.stdout)
            return DONE
        listed = self.command_manager.matching(words)
        if not listed:
            return self.wrong_words(words)
        if not words:
            self.parser.print_help(self.stdout)
            self.stdout.write("\ncommands (isthmus COMMAND --help tells more):\n")
        self.stdout.write(lines_of(listed))
        return DONE

    def wrong_words(self, words: list[str]) -> int:
        """Say that there is no such command, and which are near."""
        named = [word for word in words if not word.startswith("-")]
        near = self.command_manager.matching(named) or self.command_manager.matching(named[:1])
        self.stderr.write(f"isthmus: there is no command '{' '.join(words)}'\n")
        if near and named:
            self.stderr.write("these are near:\n" + lines_of(near))
        else:
            self.stderr.write("`isthmus --help` lists all commands\n")
        return WRONG_USAGE

    def fail(self, message: str) -> int:
        """Print one line of error and return the exit code."""
        self.stderr.write(f"isthmus: {' '.join(message.split())}\n")
        return FAILED


CLOUD_OPTIONS = {
    "os-cloud": "the cloud's name in clouds.yaml [OS_CLOUD]",
    "os-auth-url": "Keystone's address [OS_AUTH_URL]",
    "os-username": "[OS_USERNAME]",
    "os-user-domain-name": "[OS_USER_DOMAIN_NAME]",
    "os-project-name": "[OS_PROJECT_NAME]",
    "os-project-id": "[OS_PROJECT_ID]",
    "os-project-domain-name": "[OS_PROJECT_DOMAIN_NAME]",
    "os-region-name": "[OS_REGION_NAME]",
    "os-interface": "public, internal or admin [OS_INTERFACE]",
    "os-cacert": "a CA bundle's file [OS_CACERT]",
    "os-endpoint": "the API's address, instead of the catalogue's [ISTHMUS_ENDPOINT]",
}


def lines_of(commands: Sequence[LazyCommand]) -> str:
    """Return one line for each command: its words and what it does."""
    width = max(len(command.name) for command in COMMANDS)
    return "".join(f"  {command.name:<{width}}  {command.summary}\n" for command in commands)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `isthmus` with these arguments (the process's own by default) and return the exit code."""
    return IsthmusApp().run(list(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    sys.exit(main())
