"""Every driver that comes with Manila: its module loads, and what docs/share-drivers.md says of it is so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "share-drivers.md"


@pytest.fixture(scope="module")
def drivers() -> dict[str, str | None]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.functional.shares.manila_every_driver"],
        env=os.environ | {"PYTHONPATH": "src:."},
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["modules"] > 150
    drivers: dict[str, str | None] = found["drivers"]
    return drivers


def test_the_document_tells_which_drivers_are_made_without_options(drivers: dict[str, str | None]) -> None:
    assert {path for path, trouble in drivers.items() if trouble is None} == _documented("Made without options")


def test_the_document_tells_which_drivers_need_something(drivers: dict[str, str | None]) -> None:
    assert {path for path, trouble in drivers.items() if trouble is not None} == _documented("Need something")


def _documented(heading: str) -> set[str]:
    section = DOCUMENT.read_text().split(f"### {heading}")[1].split("\n#")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {f"manila.share.drivers.{row.split('`')[1]}" for row in rows}
