"""A short chaos of the share service, and that what it judges by sees what it is to see."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.control_plane import ControlPlane
from lab.share_chaos import PARTS, STACK, Kill, Report, run
from lab.share_leftovers import BackEnd, usage_findings
from lab.share_user import ShareUser


def test_shares_survive_the_death_of_every_part(tmp_path: Path) -> None:
    report = run(len(PARTS), 7, tmp_path / "share-chaos.json")

    facts = json.loads((tmp_path / "share-chaos.json").read_text())
    assert report.is_good, json.dumps(facts, indent=2)
    assert [kill["part"] for kill in facts["kills"]] == list(PARTS)
    assert (facts["stuck"], facts["failed"], facts["leaked"]) == (0, 0, 0)
    assert facts["answers"]["create 200"] > 0


@pytest.mark.parametrize("field", ["stuck", "failed", "leaked"])
def test_a_report_with_something_amiss_is_not_good(field: str) -> None:
    assert Report(1, [Kill("api", 1)]).is_good
    assert not Report(1, [Kill("api", 1, **{field: ["something"]})]).is_good  # type: ignore[arg-type]
    assert not Report(1, [Kill("api", 1)], left=["something"]).is_good


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
