"""Run manila-tempest-plugin against the shares service: `python -m conformance.shares`, `make conformance-shares`.

Without a cloud named it starts its own (`isthmus up`, with the back ends that --on names) and ends it again. The result
is in build/conformance, of btrfs in a directory of its own there: shares.json, failures.md and failures.txt. The exit
status is 1 if a test of the required stages that Manila itself passes does not pass.
"""

import argparse
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conformance import baseline, names, report, virtual_env
from conformance.cloud import Cloud, from_environment, prepare
from conformance.outcomes import Outcome, Verdict
from conformance.report import Report
from conformance.stack import own_stack
from conformance.stages import Stage, stage_of
from conformance.subjects import TERMS, Subject, Terms
from conformance.suite import Suite
from conformance.tempest_conf import tempest_conf

LOCK = Path("packaging/conformance.lock")
VENV = Path("build/conformance/venv")
RESULT = Path("build/conformance")


def main() -> None:
    """Choose, run, judge."""
    arguments = parse()
    terms = TERMS[arguments.on]
    suite = Suite(virtual_env.ensure(VENV.absolute(), LOCK), (arguments.output / "work").absolute())
    chosen = choose(suite.test_ids(), arguments.stages, arguments.select, terms)
    if arguments.list:
        print("\n".join(names.short(test_id) for test_id in chosen))
        return
    if not chosen:
        sys.exit("no test is chosen: see --list, --stages and --select")
    with cloud_under_test(arguments, terms) as cloud:
        for complaint in prepare(cloud, pools=len(terms.back_ends)):
            print(f"not prepared: {complaint}", file=sys.stderr)
        outcomes: list[Outcome] = []
        show = telling(outcomes, len(chosen), quiet=arguments.quiet)
        # A signal ends the run; what was heard until then is reported.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            suite.run(chosen, tempest_conf(cloud, suite.work, terms.switches), arguments.workers, show)
        # The report must be whole, however often one is sent.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
    made = Report(frozenset(map(names.short, chosen)), tuple(outcomes), baseline.load(), terms.required)
    report.write(made, arguments.output)
    print(made.summary())
    print(f"see {arguments.output}/shares.json, failures.md, failures.txt")
    sys.exit(1 if made.required_short else 0)


def parse() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", type=Subject, choices=list(Subject), default=Subject.DUMMY, help="the back ends")
    parser.add_argument("--select", metavar="REGEX", default="", help="only tests whose short name has a match")
    parser.add_argument("--stages", type=stages, default=frozenset(Stage), help="such as 1 or 1,2,3 (default: all)")
    parser.add_argument("--list", action="store_true", help="print the chosen tests and end")
    parser.add_argument("--against-env", action="store_true", help="test the cloud that OS_* variables name")
    parser.add_argument("--service-type", default="shared-file-system", help="its type in that cloud's catalogue")
    parser.add_argument(
        "--stack-dir", type=Path, help="state directory of the own stack; one that is there is used again"
    )
    parser.add_argument("--keep", action="store_true", help="leave the own stack running")
    parser.add_argument("--workers", type=int, default=4, help="test processes (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULT, help="directory of the result (%(default)s)")
    parser.add_argument("--quiet", action="store_true", help="show failures only")
    arguments = parser.parse_args()
    if arguments.on is not Subject.DUMMY:
        arguments.output /= arguments.on
    return arguments


def stages(text: str) -> frozenset[Stage]:
    """Parse `1,2`; argparse shows the ValueError of another text."""
    return frozenset(Stage(int(number)) for number in text.split(","))


def choose(test_ids: list[str], wanted: frozenset[Stage], select: str, terms: Terms) -> list[str]:
    """Return the ids of these stages whose short name matches, of the modules that the subject covers."""
    pattern = re.compile(select)
    short = ((test_id, names.short(test_id)) for test_id in test_ids)
    return [
        test_id
        for test_id, name in short
        if pattern.search(name)
        and is_wanted(names.module_of(name), wanted, terms)
        and not any(part in name for part in terms.cannot)
    ]


def is_wanted(module: str, wanted: frozenset[Stage], terms: Terms) -> bool:
    """Say whether a module's tests are to be run."""
    return stage_of(module) in wanted and terms.covers(module)


@contextmanager
def cloud_under_test(arguments: argparse.Namespace, terms: Terms) -> Iterator[Cloud]:
    """Give the cloud of OS_* variables, or an own one for as long as the tests run."""
    if arguments.against_env:
        yield from_environment(arguments.service_type)
        return
    directory = arguments.output / "work"
    with own_stack(arguments.stack_dir, directory, arguments.service_type, terms, keep=arguments.keep) as cloud:
        yield cloud


def telling(outcomes: list[Outcome], total: int, *, quiet: bool) -> Callable[[Outcome], None]:
    """Return what collects each outcome and prints a line of it."""
    began = time.monotonic()

    def tell(outcome: Outcome) -> None:
        outcomes.append(outcome)
        if quiet and outcome.verdict is not Verdict.FAILED:
            return
        where = f"{time.monotonic() - began:5.0f} s {len(outcomes)}/{total}"
        print(f"{where} {outcome.verdict:7} {outcome.name} ({outcome.seconds:.1f} s) {outcome.reason}", flush=True)

    return tell


if __name__ == "__main__":
    main()
