"""A short chaos of the share service, and that what it judges by sees what it is to see."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from lab.share_bytes import FILE, Bytes
from lab.share_chaos import PARTS, STACK, Kill, Report, run
from lab.share_leftovers import BackEnd, usage_findings
from lab.share_user import ShareUser

TOKEN = "[0-9a-f]{16}"


def test_shares_survive_the_death_of_every_part(tmp_path: Path) -> None:
    report = run(len(PARTS), 7, tmp_path / "share-chaos.json")

    facts = json.loads((tmp_path / "share-chaos.json").read_text())
    assert report.is_good, json.dumps(facts, indent=2)
    assert [kill["part"] for kill in facts["kills"]] == list(PARTS)
    assert (facts["stuck"], facts["failed"], facts["leaked"], facts["wrong_bytes"]) == (0, 0, 0, 0)
    assert facts["answers"]["create 200"] > 0


@pytest.mark.parametrize("field", ["stuck", "failed", "leaked", "wrong_bytes"])
def test_a_report_with_something_amiss_is_not_good(field: str) -> None:
    assert Report(1, [Kill("api", 1)]).is_good
    assert not Report(1, [Kill("api", 1, **{field: ["something"]})]).is_good  # type: ignore[arg-type]
    assert not Report(1, [Kill("api", 1)], left=["something"]).is_good
    assert not Report(1, [Kill("api", 1)], unexpected=["api: create: 500 {}"]).is_good
    assert Report(1, [Kill("api", 1)], unexpected=["api: create: 503 {}"]).is_good


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(only=STACK) as made:
        yield made


def _subvolume(pool: Path) -> None:
    subprocess.run(["btrfs", "subvolume", "create", str(pool / "pool" / "shares" / "share-stray")], check=True)


def _lost_limit(pool: Path) -> None:
    share = next((pool / "pool" / "shares").glob("share-*-*"))
    subprocess.run(["btrfs", "qgroup", "limit", "none", str(share)], check=True)


def _export(pool: Path) -> None:
    (pool.parent / "exports" / "share-stray.4711.conf").write_text("")


def test_what_is_in_order_is_found_in_order_and_all_else_is_found(plane: ControlPlane) -> None:
    administrator = ShareUser.of(plane.admin_environment)
    user = administrator.stranger()
    user.share()
    back_end, pool = BackEnd(plane.state_dir), plane.state_dir / "shares" / "pool"

    assert back_end.findings(administrator) == []
    assert usage_findings(user) == []
    breakages: dict[str, Callable[[Path], None]] = {
        "subvolume share-stray is of nothing": _subvolume,
        "limit of share-": _lost_limit,
        "export share-stray is of nothing": _export,
    }
    for finding, break_something in breakages.items():
        break_something(pool)
        assert any(found.startswith(finding) for found in back_end.findings(administrator)), finding


def test_bytes_that_are_lost_torn_or_mixed_are_found(plane: ControlPlane) -> None:
    administrator = ShareUser.of(plane.admin_environment)
    user = administrator.stranger()
    held, room = Bytes(plane.state_dir, 1), plane.state_dir / "shares" / "pool" / "pool" / "shares"
    first, second = user.share(), user.share()
    assert held.findings(administrator) == []

    snapshot = user.snapshot(first)
    clone = user.share(snapshot_id=snapshot["id"])
    assert held.findings(administrator) == []
    user.act(first, "revert", {"snapshot_id": snapshot["id"]})
    user.settled(f"/shares/{first['id']}", "share")
    assert held.findings(administrator) == []

    file, other = (place_of(administrator, room, each) / FILE for each in (clone, second))
    file.write_bytes(other.read_bytes())
    assert_found(held.findings(administrator), f"share {clone['id']} holds {TOKEN} and not {TOKEN}")
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 1)
    assert_found(held.findings(administrator), f"share {clone['id']} holds torn bytes 2097151 of them and not {TOKEN}")
    file.unlink()
    assert_found(held.findings(administrator), f"share {clone['id']} holds nothing and not {TOKEN}")


def assert_found(findings: list[str], expression: str) -> None:
    (finding,) = findings
    assert re.fullmatch(expression, finding.replace("(", "").replace(")", "")), finding


def place_of(administrator: ShareUser, room: Path, share: dict[str, Any]) -> Path:
    instances = administrator.made("GET", f"/shares/{share['id']}/instances")["share_instances"]
    return room / f"share-{instances[0]['id']}"
