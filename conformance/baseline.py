"""What Manila itself does with the same suite: the lists below baseline/."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conformance.names import class_of

DIRECTORY = Path(__file__).with_name("baseline")


@dataclass(frozen=True)
class Baseline:
    """Short names of tests by what came of them; a class that was skipped as a whole ends in `.setUpClass`."""

    passed: frozenset[str]
    failed: frozenset[str]
    skipped: frozenset[str]

    def skips(self, name: str) -> bool:
        """Say whether Manila skipped the test, alone or with its class."""
        return name in self.skipped or f"{class_of(name)}.setUpClass" in self.skipped


@cache
def load(prefix: str = "") -> Baseline:
    """Return the lists `{prefix}passed.txt`, `{prefix}failed.txt` and `{prefix}skipped.txt`."""
    return Baseline(*(_read(DIRECTORY / f"{prefix}{verdict}.txt") for verdict in ("passed", "failed", "skipped")))


def _read(path: Path) -> frozenset[str]:
    lines = path.read_text().splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))
