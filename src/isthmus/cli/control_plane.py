"""`isthmus up`, `down`, `status`, `logs`, `env`: the whole control plane on this machine."""

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from cliff.columns import FormattableColumn
from cliff.command import Command
from cliff.lister import Lister
from rich.console import Console

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.embedded import access, plane, status
from isthmus.embedded.layout import DEFAULT_STATE_DIR, STATE_DIR_VARIABLE, Layout, open_layout
from isthmus.embedded.ports import Ports
from isthmus.embedded.watch import Report, State, last_lines

FEATURES = ("network", "nfs3")
FOLLOW_SECONDS = 0.2
TOLD = frozenset(State) - {State.WAITING}
COLOURS = {State.RUNNING: "green", State.RESTARTING: "yellow", State.FAILED: "red"}


class _Plane(Command):  # type: ignore[misc]  # cliff is not followed by mypy
    """What the five commands share: which control plane."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return a parser with --state-dir."""
        parser: argparse.ArgumentParser = super().get_parser(prog_name)
        parser.add_argument(
            "--state-dir",
            metavar="DIRECTORY",
            help=f"where the control plane keeps everything [{STATE_DIR_VARIABLE}, else {DEFAULT_STATE_DIR}]",
        )
        return parser


class Up(_Plane):
    """Start the control plane on this machine."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--detach", action="store_true", help="return when every part is ready, and leave them running"
        )
        for name, default in vars(Ports()).items():
            parser.add_argument(
                f"--{name}-port",
                type=int,
                metavar="PORT",
                help=f"loopback port of {name} [the last start's, at first {default}]",
            )
        parser.add_argument(
            "--shares-config",
            type=Path,
            metavar="FILE",
            help="[shares] and a section for each share back end, for this and later starts",
        )
        parser.add_argument(
            "--with",
            dest="wanted",
            action="append",
            default=[],
            choices=FEATURES,
            help="now and at later starts: network (Neutron, OVN, Open vSwitch and the network agent), "
            "nfs3 (shares by NFS 3, too, found through this machine's rpcbind); may be given again",
        )
        parser.add_argument(
            "--without",
            dest="unwanted",
            action="append",
            default=[],
            choices=FEATURES,
            help="do without it again; its state is kept",
        )
        parser.add_argument(
            "--only",
            metavar="PART,…",
            type=lambda text: tuple(text.split(",")),
            default=(),
            help="start only these parts and those they need",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Run until interrupted or, detached, return when all parts are ready."""
        layout = open_layout(parsed_args.state_dir)
        wishes = plane.Wishes(
            ports={name: getattr(parsed_args, f"{name}_port") for name in vars(Ports())},
            shares_config=parsed_args.shares_config,
            networks=_wish(parsed_args, "network"),
            nfs3=_wish(parsed_args, "nfs3"),
        )
        console = Console(stderr=True, highlight=False)
        progress = _Progress(console)
        if parsed_args.detach:
            plane.start_detached(layout, wishes, parsed_args.only, progress)
            console.print(f"All parts are ready. {_next_step(layout)}", soft_wrap=True)
            return
        progress.when_ready = f"All parts are ready; press Ctrl-C to stop. {_next_step(layout)}"
        plane.run(layout, wishes, parsed_args.only, progress)


def _wish(parsed_args: argparse.Namespace, feature: str) -> bool | None:
    """Return whether a feature is wanted; None if nothing was said. `InvalidInput` if both were."""
    if feature in parsed_args.wanted and feature in parsed_args.unwanted:
        raise InvalidInput(f"both --with {feature} and --without {feature}: say one of them")
    return True if feature in parsed_args.wanted else False if feature in parsed_args.unwanted else None


class Down(_Plane):
    """Stop the control plane on this machine."""

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Return when no process is left. Nothing running is success too."""
        layout = open_layout(parsed_args.state_dir)
        console = Console(stderr=True, highlight=False)
        ran = plane.stop(layout, _Progress(console, only=(State.STOPPED,)))
        console.print("Stopped; all state is kept." if ran else f"Nothing ran on {layout.state_dir}.", soft_wrap=True)


class Status(_Plane, Lister):  # type: ignore[misc]  # cliff is not followed by mypy
    """Show the parts of the control plane on this machine."""

    def take_action(self, parsed_args: argparse.Namespace) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Return a row for each part; memory is PSS: shared pages count once over all parts."""
        layout = open_layout(parsed_args.state_dir)
        rows: list[tuple[object, ...]] = [
            (part.name, part.state.value, _Pid(part.pid), part.address, _Memory(part.memory), part.restarts)
            for part in status.of_parts(layout)
        ]
        if not rows:
            raise NotFound(f"no control plane has been started in {layout.state_dir}: run `isthmus up` first")
        return ("part", "state", "pid", "address", "memory", "restarts"), rows


class Logs(_Plane):
    """Show the log of one part."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument("part", choices=(*plane.EVERY_PART_NAME, "supervisor"), metavar="PART",
                            help=f"one of {', '.join(plane.EVERY_PART_NAME)}, or supervisor")  # fmt: skip
        parser.add_argument("--lines", type=int, default=100, metavar="N", help="how many of the last lines [100]")
        parser.add_argument("--follow", action="store_true", help="go on with what is written from now on")
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print the last lines; with --follow, go on until interrupted."""
        layout = open_layout(parsed_args.state_dir)
        log = layout.log(parsed_args.part)
        if not log.exists():
            raise NotFound(f"{parsed_args.part} has no log yet ({log}): has `isthmus up` been run?")
        end = log.stat().st_size
        text = last_lines(layout, parsed_args.part, parsed_args.lines)
        if text:
            print(text, flush=True)
        if parsed_args.follow:
            _follow(log, end, lambda text: print(text, end="", flush=True))


class Env(_Plane):
    """Print OS_* exports for a user of the control plane."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        parser.add_argument(
            "--user",
            default="admin",
            metavar="NAME",
            help="admin (of everything), demo (a plain member of the project demo) or, with networks, demo2 [admin]",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Print lines for `eval "$(isthmus env)"`; a cloud chosen by OS_CLOUD before would win, so it is unset."""
        print("unset OS_CLOUD OS_TOKEN OS_SYSTEM_SCOPE")
        for name, value in access.environment(open_layout(parsed_args.state_dir), parsed_args.user).items():
            print(f"export {name}={_quoted(value)}")


class _Pid(FormattableColumn):  # type: ignore[misc]  # cliff is not followed by mypy
    """A process id; nothing where there is no process."""

    def human_readable(self) -> str:
        """Return the number or nothing."""
        return "" if self._value is None else str(self._value)


class _Memory(FormattableColumn):  # type: ignore[misc]  # cliff is not followed by mypy
    """Bytes for programs, MiB for people."""

    def human_readable(self) -> str:
        """Return MiB."""
        return "" if self._value is None else f"{self._value / 2**20:.0f} MiB"

    def machine_readable(self) -> int | None:
        """Return bytes."""
        value: int | None = self._value
        return value


class _Progress:
    """Prints a line whenever a part changes its state to one worth telling, and `when_ready` once all run."""

    def __init__(self, console: Console, only: Iterable[State] = TOLD) -> None:
        self.when_ready = ""
        self._only = frozenset(only)
        self._console = console
        self._told: dict[str, State] = {}

    def __call__(self, reports: list[Report]) -> None:
        """Tell what is new in the reports."""
        for report in reports:
            if self._told.get(report.name) is not report.state and report.state in self._only:
                self._told[report.name] = report.state
                self._console.print(_line(report), soft_wrap=True, markup=False, style=COLOURS.get(report.state))
        if self.when_ready and all(report.state is State.RUNNING for report in reports):
            self._console.print(self.when_ready, soft_wrap=True)
            self.when_ready = ""


def _line(report: Report) -> str:
    detail = {
        State.RUNNING: f"{report.address} after {report.seconds} s",
        State.RESTARTING: report.message,
        State.FAILED: report.message,
    }.get(report.state, "")
    return f"{report.name:<14} {report.state.value:<10} {detail}".rstrip()


def _next_step(layout: Layout) -> str:
    option = "" if str(layout.state_dir) == DEFAULT_STATE_DIR else f" --state-dir {layout.state_dir}"
    return f'Speak to it as admin after: eval "$(isthmus env{option})"'


def _follow(log: Path, position: int, say: Callable[[str], None]) -> None:
    """Print what is appended, also after the log was rotated, until interrupted."""
    while True:
        size = log.stat().st_size if log.exists() else 0
        if size < position:
            position = 0
        if size > position:
            with log.open(errors="replace") as file:
                file.seek(position)
                say(file.read())
                position = file.tell()
        time.sleep(FOLLOW_SECONDS)


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
