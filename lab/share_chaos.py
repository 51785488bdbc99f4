"""Chaos of the share service: kill its processes at seeded moments of share operations, and count what was left.

    python -m lab.share_chaos [--kills 30] [--seed 1]

Users create, resize, allow, snapshot, revert and delete shares, several calls at once, while `kill -9` hits the API,
the share manager, NFS-Ganesha, Samba and MariaDB in turn. After each kill all must settle: no share, snapshot or rule
in a status that it should leave by itself (stuck) or in an error, the back end, the servers and the quotas agree
with what the API lists, and each share and snapshot holds the bytes that it must (`lab.share_bytes`). No call may be
answered with 500: what is away is told as such. At the end everything is deleted, and nothing may be left. The report
is build/share-chaos.json, written after each kill.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.control_plane import ControlPlane
from lab.share_bytes import Bytes
from lab.share_leftovers import BackEnd, usage_findings
from lab.share_user import ShareUser
from lab.share_work import Work

REPORT = Path("build/share-chaos.json")
PARTS = ("share-manager", "api", "nfs", "mariadb", "smb")
STACK = ("keystone", "share-manager", "nfs", "smb")
USERS = 3
SETTLE_SECONDS = 120
AT_REST = frozenset({"available", "active"})


@dataclass
class Kill:
    """One kill, and what was found when all was at rest again. Times are seconds."""

    part: str
    after: float
    recovered_after: float = 0
    settled_after: float = 0
    stuck: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    wrong_bytes: list[str] = field(default_factory=list)

    @property
    def findings(self) -> list[str]:
        """All that is wrong."""
        return [*self.stuck, *self.failed, *self.leaked, *self.wrong_bytes]

    @property
    def is_good(self) -> bool:
        """Whether nothing was stuck, failed, leaked or changed."""
        return not self.findings


@dataclass
class Report:
    """All kills of a run, what came of all calls, and what was left when everything had been deleted."""

    seed: int
    kills: list[Kill] = field(default_factory=list)
    answers: dict[str, int] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether every kill ended well, no call was answered as if the service were wrong, and nothing was left."""
        return all(kill.is_good for kill in self.kills) and not self.left and not self.faults

    @property
    def faults(self) -> list[str]:
        """The answers that own up to a mistake of the service's own."""
        return [each for each in self.unexpected if " 500 " in each]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {
            **asdict(self),
            "good": self.is_good,
            "stuck": sum(len(kill.stuck) for kill in self.kills),
            "failed": sum(len(kill.failed) for kill in self.kills),
            "leaked": sum(len(kill.leaked) for kill in self.kills) + len(self.left),
            "wrong_bytes": sum(len(kill.wrong_bytes) for kill in self.kills),
            "faults": self.faults,
        }
        path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def run(kills: int, seed: int, path: Path = REPORT) -> Report:
    """Start a control plane, kill `kills` times and return the report, which is also at `path`."""
    lot = random.Random(seed)
    report = Report(seed)
    with ControlPlane(only=STACK) as plane:
        administrator = ShareUser.of(plane.admin_environment)
        user = administrator.stranger()
        back_end, held = BackEnd(plane.state_dir), Bytes(plane.state_dir, seed)
        for number in range(kills):
            kill = Kill(PARTS[number % len(PARTS)], round(lot.uniform(0.5, 4), 2))
            _kill(plane, user, kill, lot.randrange(1 << 30), report)
            _judge(kill, user, administrator, back_end)
            kill.wrong_bytes = held.findings(administrator)
            report.kills.append(kill)
            report.write(path)
            _say(number, kills, kill)
        report.left = _emptied(user, administrator, back_end)
        report.write(path)
    return report


def _kill(plane: ControlPlane, user: ShareUser, kill: Kill, seed: int, report: Report) -> None:
    """Let users work, kill the part in the middle of it, and let them work on until all parts run again."""
    works = [Work(user, seed + number) for number in range(USERS)]
    for work in works:
        work.start()
    try:
        time.sleep(kill.after)
        plane.kill(kill.part)
        begun = time.monotonic()
        plane.wait_ready()
        kill.recovered_after = round(time.monotonic() - begun, 1)
        time.sleep(1)
    finally:
        for work in works:
            work.stop()
        for work in works:
            work.join(120)
    for work in works:
        report.answers = dict(sorted((Counter(report.answers) + work.answers).items()))
        report.unexpected += [f"{kill.part}: {line}" for line in work.broken]


def _judge(kill: Kill, user: ShareUser, administrator: ShareUser, back_end: BackEnd) -> None:
    begun = time.monotonic()
    while _unsettled(user, wanted_error=False) and time.monotonic() - begun < SETTLE_SECONDS:
        time.sleep(0.2)
    kill.settled_after = round(time.monotonic() - begun, 1)
    kill.stuck = _unsettled(user, wanted_error=False)
    kill.failed = _unsettled(user, wanted_error=True)
    kill.leaked = [*back_end.findings(administrator), *usage_findings(user)]


def _unsettled(user: ShareUser, *, wanted_error: bool) -> list[str]:
    """Return what is in an error status; or, if that is not wanted, what is in one that it should leave by itself."""
    shares = user.made("GET", "/shares/detail")["shares"]
    statuses = [(f"share {each['id']}", each["status"]) for each in shares]
    snapshots = user.made("GET", "/snapshots/detail")["snapshots"]
    statuses += [(f"snapshot {each['id']}", each["status"]) for each in snapshots]
    for share in shares:
        rules = user.call("GET", f"/share-access-rules?share_id={share['id']}").json().get("access_list", [])
        statuses += [(f"rule {rule['id']}", rule["state"]) for rule in rules]
    return [
        f"{what} is {status}"
        for what, status in statuses
        if status not in AT_REST and ("error" in status) == wanted_error
    ]


def _emptied(user: ShareUser, administrator: ShareUser, back_end: BackEnd) -> list[str]:
    """Delete all that the user has and return what is left of it, and what could not be deleted."""
    refused = []
    for remove, path in ((user.delete_snapshot, "snapshots"), (user.delete, "shares")):
        for each in user.made("GET", f"/{path}")[path]:
            try:
                remove(each)
            except (AssertionError, TimeoutError) as error:
                refused.append(f"{path} {each['id']} cannot be deleted: {error}"[:300])
    return [*refused, *back_end.findings(administrator), *usage_findings(user)]


def _say(number: int, kills: int, kill: Kill) -> None:
    words = "good" if kill.is_good else "; ".join(kill.findings)
    print(
        f"{number + 1:3}/{kills} {kill.part:14} killed after {kill.after:.1f} s, "
        f"all parts back in {kill.recovered_after:.1f} s, at rest in {kill.settled_after:.1f} s: {words}",
        flush=True,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    asked: Any = parser.parse_args(arguments)
    report = run(asked.kills, asked.seed)
    print(f"report: {REPORT}")
    print("share chaos: passed" if report.is_good else "share chaos: FAILED; see the report")
    return 0 if report.is_good else 1


if __name__ == "__main__":
    sys.exit(main())
