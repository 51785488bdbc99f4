"""`make chaos`: kill every process of a migration at seeded moments, and see that each migration ends well.

    python -m lab.chaos [--kills 100] [--seed 1] [--only machine|execution|deployment|cancel|failback|wave|schedule]

Each round has one `kill -9`. Those of kind `machine` move a machine that runs between two libvirt clouds, prove that it
boots and that its records are whole (`lab.chaos_round`), and end with some that have to be rolled back
(`lab.chaos_setbacks`). All others move several small machines at once between directories of images (`lab.chaos_many`).
One control plane serves all. The report, build/chaos-report.json, is written after each round, so that a broken run
tells too; after a round that ended badly the control plane's logs are kept in build/chaos-logs. At the end the history
of each workflow is followed once more, as a conductor does that takes it up from a dead one.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keystoneauth1 import adapter, session
from keystoneauth1.identity import v3

from isthmus.cli.client import MigrationApi
from isthmus.control.configuration import load
from isthmus.control.engine import EngineAddress
from isthmus.control.errors import Conflict
from lab import histories
from lab.chaos_ground import Ground
from lab.chaos_many import WEIGHTS, Blow, ManyRound, planned_blows
from lab.chaos_round import DATA_MIB, MIB, Kill, Round, Site, Verdict
from lab.chaos_setbacks import FullStorage, Morphed, NoSystem, add_small_pool
from lab.clouds import LibvirtCloud
from lab.control_plane import ControlPlane
from lab.tiny_guest import TinyGuest, build_disks

REPORT = Path("build/chaos-report.json")
MOST_BYTES_RESENT = 64 * MIB
MIGRATION = ("keystone", "barbican", "temporal", "api", "conductor", "worker")
"""What runs: the share service has no part in this."""
PARTS = ("worker", "nbd-server", "conductor", "temporal", "api")
COPY = "REPLICATE_DISKS"
MACHINE = "machine"
MOST_ATTEMPTS = 4
SHARE_OF_MACHINES = 0.15
"""Of all kills, those in moves of whole machines, which take longest."""
WHERE_WRITERS_ARE = (
    ("full", COPY),
    ("increment", COPY),
    ("last", "SHUTDOWN_INSTANCE"),
    ("last", COPY),
    ("full", "DELETE_TRANSFER_SOURCE_RESOURCES"),
)
EVERYWHERE = (
    *WHERE_WRITERS_ARE,
    ("full", "VALIDATE_TRANSFER_SOURCE_INPUTS"),
    ("full", "DEPLOY_TRANSFER_DISKS"),
    ("full", "DEPLOY_TRANSFER_TARGET_RESOURCES"),
    ("last", "DELETE_TRANSFER_TARGET_RESOURCES"),
    ("deployment", "DEPLOY_INSTANCE_RESOURCES"),
    ("deployment", "FINALIZE_INSTANCE_DEPLOYMENT"),
    ("deployment", "VERIFY_INSTANCE_BOOT"),
)

HardRound = tuple[type[FullStorage] | type[NoSystem] | type[Morphed], Kill]
HARD_ROUNDS: tuple[HardRound, ...] = (
    (FullStorage, Kill("worker", "full", COPY)),
    (FullStorage, Kill("conductor", "full", "DELETE_TRANSFER_DISKS")),
    (NoSystem, Kill("worker", "deployment", "OS_MORPHING")),
    (NoSystem, Kill("temporal", "deployment", "CLEANUP_FAILED_INSTANCE_DEPLOYMENT")),
    (Morphed, Kill("worker", "deployment", "OS_MORPHING")),
)
"""What no retry can mend, with a kill before or in the undoing; and a guest that is changed."""


def planned(kills: int, seed: int) -> list[Kill]:
    """Return the kills: the parts in turn, each at the step that was chosen least so far, ties by lot."""
    lot = random.Random(seed)
    chosen: list[Kill] = []
    used = dict.fromkeys(EVERYWHERE, 0)
    for index in range(kills):
        part = PARTS[index % len(PARTS)]
        own = {(kill.phase, kill.task) for kill in chosen if kill.part == part}
        places: Sequence[tuple[str, str]] = WHERE_WRITERS_ARE if part == "nbd-server" else EVERYWHERE
        if part == "worker" and not own:
            places = [("full", COPY)]  # where a crash costs most
        place = min(places, key=lambda each: (each in own, used[each], lot.random()))
        used[place] += 1
        chosen.append(Kill(part, *place, share=round(lot.uniform(0.2, 0.8), 2) if place[1] == COPY else 0.0))
    return chosen


def run(
    kills: Iterable[Kill],
    seed: int,
    report: Path = REPORT,
    *,
    hard: Sequence[HardRound] = (),
    blows: Sequence[Blow] = (),
) -> dict[str, Any]:
    """Do one round for each kill, then the hard ones, then one for each blow, and return the report."""
    book = Book(seed, report)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)))
        plane = stack.enter_context(ControlPlane(only=MIGRATION))
        if kills or hard:
            _whole_machines(plane, directory, list(kills), hard, book)
        if blows:
            _many_machines(plane, directory, seed, blows, book)
        book.look_back(plane)
    return book.facts


def _whole_machines(
    plane: ControlPlane, directory: Path, kills: Sequence[Kill], hard: Sequence[HardRound], book: "Book"
) -> None:
    templates = {each: _templates(directory / each, each) for each in ("qcow2", "raw")}
    with contextlib.ExitStack() as stack:
        east, west = (stack.enter_context(LibvirtCloud(name, directory / name)) for name in ("east", "west"))
        site = _site(plane, east, west)
        for title, each in _rounds(site, templates, kills, hard):
            book.write(title, each, plane)
        for endpoint in (site.origin, site.destination):
            _delete_endpoint(site.api, endpoint)


def _many_machines(plane: ControlPlane, directory: Path, seed: int, blows: Sequence[Blow], book: "Book") -> None:
    ground = Ground(plane, directory / "many", random.Random(seed))
    usual: dict[str, float] = {}
    for number, blow in enumerate(blows):
        if blow.kind not in usual:
            first = ManyRound(ground, f"usual-{blow.kind}", blow.kind, None)
            book.write(f"{blow.kind}: undisturbed", first, plane)
            usual[blow.kind] = first.verdict.usual_seconds or 1.0
        for attempt, each in enumerate(_later(blow)):
            one = ManyRound(ground, f"m{number}-{attempt}", each.kind, each, usual[each.kind])
            book.write(f"{each.kind}: kill {each}", one, plane)
            if one.verdict.killed:
                break
    ground.close()


def _later(blow: Blow) -> Iterator[Blow]:
    """Yield the blow, and later ones for when there was nothing to be killed: no disk was served yet, or any more."""
    for _ in range(MOST_ATTEMPTS):
        yield blow
        blow = dataclasses.replace(blow, share=round(min(0.6, blow.share + 0.15), 2))


class Book:
    """The verdicts so far, written to the report after each."""

    def __init__(self, seed: int, report: Path) -> None:
        self._seed = seed
        self._report = report
        self._verdicts: list[Verdict] = []
        self._followed = 0
        self._not_followed: list[str] = []
        self._logs = report.parent / "chaos-logs"
        shutil.rmtree(self._logs, ignore_errors=True)
        self._save()

    def write(self, title: str, each: Round | ManyRound, plane: ControlPlane) -> None:
        """Do a round and write it down; keep the logs if it ended badly."""
        print(f"{len(self._verdicts) + 1:3d} {title} …", end=" ", flush=True)
        verdict = each.run()
        print(_line(verdict), flush=True)
        self._verdicts.append(verdict)
        self._save()
        if not verdict.is_fine:
            shutil.copytree(plane.state_dir / "log", self._logs, dirs_exist_ok=True)

    def look_back(self, plane: ControlPlane) -> None:
        """Write down which workflows could not have been taken up by another conductor."""
        plane.wait_ready()
        ended = histories.ended(EngineAddress.of(load(["--config-file", str(plane.configuration)])))
        self._followed, self._not_followed = len(ended), histories.complaints(ended)
        self._save()

    @property
    def facts(self) -> dict[str, Any]:
        """The report's content."""
        looked_back = {"histories": self._followed, "histories_not_followed": self._not_followed}
        return summary(self._verdicts, self._seed) | looked_back

    def _save(self) -> None:
        self._report.parent.mkdir(exist_ok=True)
        self._report.write_text(json.dumps(self.facts, indent=2) + "\n", encoding="utf-8")


def _rounds(
    site: Site, templates: Mapping[str, Sequence[Path]], kills: Iterable[Kill], hard: Sequence[HardRound]
) -> Iterator[tuple[str, Round]]:
    """Yield the rounds with their titles."""
    for number, kill in enumerate(kills, start=1):
        # A raw disk in every third round: its increments are found by comparing hashes.
        disk_format = "raw" if number % 3 == 0 else "qcow2"
        yield f"{disk_format:5s} kill {kill}", Round(site, f"chaos-{number}", templates[disk_format], disk_format, kill)
    if hard:
        add_small_pool(site.west)
    for number, (kind, kill) in enumerate(hard, start=1):
        yield f"{kind.__name__}: kill {kill}", kind(site, f"hard-{number}", kill)


def _delete_endpoint(api: MigrationApi, endpoint: str) -> None:
    """Delete an endpoint as soon as what transfers left there is gone."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return api.delete_endpoint(endpoint)
        except Conflict:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def summary(verdicts: Sequence[Verdict], seed: int) -> dict[str, Any]:
    """Return the report's content. Rounds in which nothing was to be killed are in `rounds` only."""
    disturbed = [each for each in verdicts if not each.kill.startswith("nothing")]
    kinds = sorted({verdict.kind for verdict in disturbed})
    return {
        "seed": seed,
        **_counts(disturbed),
        "not_fine": sum(not verdict.is_fine for verdict in verdicts),
        "max_bytes_resent": max((verdict.bytes_resent for verdict in disturbed), default=0),
        "recovery_seconds": _recovery(disturbed),
        "recovery_seconds_by_part": {
            part: _recovery([each for each in disturbed if each.kill.startswith(f"{part} ")])
            for part in sorted({verdict.kill.split()[0] for verdict in disturbed})
        },
        "kinds": {kind: _kind([each for each in disturbed if each.kind == kind]) for kind in kinds},
        "rounds": [dataclasses.asdict(verdict) for verdict in verdicts],
    }


def _kind(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    return {"rounds": len(verdicts), **_counts(verdicts), "recovery_seconds": _recovery(verdicts)}


def _counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    return {
        "kills": sum(verdict.killed for verdict in verdicts),
        "completed": sum(verdict.outcome == "completed" for verdict in verdicts),
        "rolled_back": sum(verdict.outcome == "rolled back" for verdict in verdicts),
        "stuck": sum(verdict.outcome == "stuck" for verdict in verdicts),
        "ended_otherwise": sum(bool(each.must_end) and each.outcome != each.must_end for each in verdicts),
        "leaked": sum(len(verdict.leaked) for verdict in verdicts),
        "wrong_bytes": sum(verdict.wrong_bytes for verdict in verdicts),
    }


def _recovery(verdicts: Sequence[Verdict]) -> dict[str, float] | None:
    """Return the median and the longest time from a kill to the end of what it hit; None if there was no kill."""
    seconds = [verdict.recovery_seconds for verdict in verdicts if verdict.recovery_seconds is not None]
    return {"median": round(statistics.median(seconds), 1), "max": max(seconds)} if seconds else None


def is_good(facts: dict[str, Any], kills: int) -> bool:
    """Whether a run shows what has to be shown."""
    disturbed = [each for each in facts["rounds"] if not each["kill"].startswith("nothing")]
    if any(each["outcome"] != "completed" for each in facts["rounds"] if each not in disturbed):
        return False
    fine = facts["completed"] + facts["rolled_back"] == len(disturbed) and facts["kills"] >= kills
    fine = fine and not any(facts[key] for key in ("stuck", "ended_otherwise", "leaked", "wrong_bytes"))
    fine = fine and not facts.get("histories_not_followed")
    return fine and facts["max_bytes_resent"] <= MOST_BYTES_RESENT


def _line(verdict: Verdict) -> str:
    notes = [*verdict.problems, *(f"left: {line}" for line in verdict.leaked)]
    if not verdict.killed:
        notes.append("nothing was killed")
    facts = [verdict.outcome, f"{verdict.seconds:.0f} s"]
    if verdict.kind == "machine":
        facts.append(f"{verdict.bytes_resent / MIB:.1f} MiB sent again")
    if verdict.recovery_seconds is not None:
        facts.append(f"over {verdict.recovery_seconds:.1f} s after the kill")
    return "; ".join([", ".join(facts) + f", hit {verdict.hit}", *notes])


def _templates(directory: Path, disk_format: str) -> list[Path]:
    disks = build_disks(directory, TinyGuest(format=disk_format), name="chaos")
    data = directory / "data.raw"
    with data.open("wb") as file:
        for _ in range(DATA_MIB):
            file.write(os.urandom(MIB))
        file.truncate((DATA_MIB + 64) * MIB)
    if disk_format == "raw":
        return [*disks, data]
    converted = directory / f"data.{disk_format}"
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", disk_format, str(data), str(converted)], check=True, timeout=300
    )
    data.unlink()
    return [*disks, converted]


def _site(plane: ControlPlane, east: LibvirtCloud, west: LibvirtCloud) -> Site:
    user = plane.demo_environment
    names = ("auth_url", "username", "password", "user_domain_name", "project_name", "project_domain_name")
    login = v3.Password(**{name: user[f"OS_{name.upper()}"] for name in names})
    api = MigrationApi(adapter.Adapter(session.Session(auth=login), service_type="migration"))
    origin, destination = (
        api.create_endpoint({"name": cloud.name, "type": "libvirt", "connection_info": cloud.connection}).id
        for cloud in (east, west)
    )
    return Site(plane, api, east, west, origin, destination)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run chaos and return the exit code."""
    parser = argparse.ArgumentParser(prog="lab.chaos", description="Kill what a migration needs, again and again.")
    parser.add_argument("--kills", type=int, default=100, help="how many, one in each round")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of steps and moments")
    parser.add_argument("--only", choices=(MACHINE, *WEIGHTS), help="one kind alone; all by default")
    options = parser.parse_args(arguments)
    machines = {None: round(options.kills * SHARE_OF_MACHINES), MACHINE: options.kills}.get(options.only, 0)
    hard = HARD_ROUNDS[:machines]
    few = None if options.only == MACHINE else options.only
    blows = planned_blows(options.kills - machines, options.seed, few)
    facts = run(planned(machines - len(hard), options.seed), options.seed, hard=hard, blows=blows)
    good = is_good(facts, options.kills)
    shown = {key: value for key, value in facts.items() if key != "rounds"}
    print(f"chaos: {'passed' if good else 'FAILED'}: {shown}; see {REPORT}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
