"""What came of each test of a run."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

MOST_OF_A_LINE = 300


class Verdict(StrEnum):
    """How one test ended."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


VERDICT_OF_STATUS = {
    "success": Verdict.PASSED,
    "xfail": Verdict.PASSED,
    "fail": Verdict.FAILED,
    "uxsuccess": Verdict.FAILED,
    # Its worker died in the middle.
    "inprogress": Verdict.FAILED,
    "unknown": Verdict.FAILED,
    "skip": Verdict.SKIPPED,
}
"""By subunit's statuses of a test that is over."""


@dataclass(frozen=True)
class Outcome:
    """One test, or one class that did not come up; `reason` is its first error line or why it was skipped."""

    name: str
    verdict: Verdict
    seconds: float
    reason: str
    details: str = ""

    def without_details(self) -> dict[str, Any]:
        """Return what goes into the report."""
        return {name: value for name, value in asdict(self).items() if name != "details"}


def error_line(traceback: str) -> str:
    """Return what a traceback says after its last frame, as one line of bounded length."""
    lines = traceback.rstrip().splitlines()
    frames = [number for number, line in enumerate(lines) if line.startswith("    ")]
    said = lines[frames[-1] + 1 :] if frames else lines
    return " ".join(" ".join(said).split())[:MOST_OF_A_LINE]
