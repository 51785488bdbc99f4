"""The sample in the documentation is what the code declares."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_sample_configuration_is_up_to_date(tmp_path: Path) -> None:
    fresh = tmp_path / "isthmus.conf.sample"
    subprocess.run([ROOT / "packaging" / "sample-config", fresh], check=True, timeout=60)
    sample = ROOT / "docs" / "isthmus.conf.sample"
    assert fresh.read_text() == sample.read_text(), "run packaging/sample-config and commit docs/isthmus.conf.sample"
