"""`make chaos`: kill every process of a migration at seeded moments, and see that each migration ends well.

    python -m lab.chaos [--kills 20] [--seed 1]

One control plane and two libvirt clouds serve all rounds; each round is one migration with one `kill -9`, see
`lab.chaos_round`. At the end come those of `lab.chaos_setbacks`, most of which have to end rolled back. The report,
build/chaos-report.json, is written after each round, so that a broken run tells too; after a round that ended badly
the control plane's logs are kept in build/chaos-logs.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import shutil
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
from isthmus.control.errors import Conflict
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


def run(kills: Iterable[Kill], seed: int, report: Path = REPORT, *, hard: Sequence[HardRound] = ()) -> dict[str, Any]:
    """Do one round for each kill, then the hard ones, and return the report."""
    verdicts: list[Verdict] = []
    _written(verdicts, seed, report)
    logs = report.parent / "chaos-logs"
    shutil.rmtree(logs, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)))
        templates = {each: _templates(directory / each, each) for each in ("qcow2", "raw")}
        east, west = (stack.enter_context(LibvirtCloud(name, directory / name)) for name in ("east", "west"))
        plane = stack.enter_context(ControlPlane(only=MIGRATION))
        site = _site(plane, east, west)
        for title, each in _rounds(site, templates, kills, hard):
            print(f"{len(verdicts) + 1:3d} {title} …", end=" ", flush=True)
            verdicts.append(each.run())
            print(_line(verdicts[-1]), flush=True)
            _written(verdicts, seed, report)
            if not verdicts[-1].is_fine:
                shutil.copytree(plane.state_dir / "log", logs, dirs_exist_ok=True)
        for endpoint in (site.origin, site.destination):
            _delete_endpoint(site.api, endpoint)
    return summary(verdicts, seed)


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


def _written(verdicts: Sequence[Verdict], seed: int, report: Path) -> dict[str, Any]:
    facts = summary(verdicts, seed)
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return facts


def summary(verdicts: Sequence[Verdict], seed: int) -> dict[str, Any]:
    """Return the report's content."""
    return {
        "seed": seed,
        "kills": sum(verdict.killed for verdict in verdicts),
        "completed": sum(verdict.outcome == "completed" for verdict in verdicts),
        "rolled_back": sum(verdict.outcome == "rolled back" for verdict in verdicts),
        "stuck": sum(verdict.outcome == "stuck" for verdict in verdicts),
        "ended_otherwise": sum(bool(each.must_end) and each.outcome != each.must_end for each in verdicts),
        "leaked": sum(len(verdict.leaked) for verdict in verdicts),
        "max_bytes_resent": max((verdict.bytes_resent for verdict in verdicts), default=0),
        "rounds": [dataclasses.asdict(verdict) for verdict in verdicts],
    }


def is_good(facts: dict[str, Any], kills: int) -> bool:
    """Whether a run shows what has to be shown."""
    fine = facts["completed"] + facts["rolled_back"] == len(facts["rounds"]) and facts["kills"] >= kills
    fine = fine and not facts["stuck"] and not facts["ended_otherwise"] and not facts["leaked"]
    return fine and facts["max_bytes_resent"] <= MOST_BYTES_RESENT


def _line(verdict: Verdict) -> str:
    notes = [*verdict.problems, *(f"left: {line}" for line in verdict.leaked)]
    if not verdict.killed:
        notes.append("nothing was killed")
    resent = f"{verdict.bytes_resent / MIB:.1f} MiB sent again"
    return "; ".join([f"{verdict.outcome}, {verdict.seconds:.0f} s, {resent}, hit {verdict.hit}", *notes])


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
    parser.add_argument(
        "--kills", type=int, default=20, help="how many rounds, with one kill each, before the hard ones"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the choice of steps and moments")
    options = parser.parse_args(arguments)
    hard = HARD_ROUNDS[: options.kills]
    facts = run(planned(options.kills - len(hard), options.seed), options.seed, hard=hard)
    good = is_good(facts, options.kills)
    shown = {key: value for key, value in facts.items() if key != "rounds"}
    print(f"chaos: {'passed' if good else 'FAILED'}: {shown}; see {REPORT}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
