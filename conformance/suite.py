"""manila-tempest-plugin as a program: which tests it has, and a run of some of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance import names, outcomes
from conformance.outcomes import VERDICT_OF_STATUS, Outcome, Verdict

TESTS = "manila_tempest_tests/tests/api"
READER = Path(__file__).with_name("subunit_lines.py")
# A class's tests share its projects and shares, so one worker takes them all.
ONE_WORKER_A_CLASS = r"([^\.]*\.)*"


@dataclass(frozen=True)
class Suite:
    """The suite in a virtual environment, with a directory for stestr's memory of past runs."""

    python: Path
    work: Path

    def test_ids(self) -> list[str]:
        """Return every test's id. Raises CalledProcessError when the suite cannot be imported."""
        (self.work / "etc").mkdir(parents=True, exist_ok=True)
        if not (self.work / ".stestr").exists():
            subprocess.run([*self._stestr(), "init"], cwd=self.work, check=True)
        listed = subprocess.run(
            [*self._stestr(), "list"],
            cwd=self.work,
            check=True,
            capture_output=True,
            text=True,
            env=self._environment(),
        )
        return [line for line in listed.stdout.splitlines() if line.startswith(names.PACKAGE)]

    def run(self, test_ids: Sequence[str], configuration: str, workers: int, seen: Callable[[Outcome], None]) -> None:
        """Run the tests against the cloud in `configuration` (a tempest.conf), telling each outcome as it comes."""
        (self.work / "etc" / "tempest.conf").write_text(configuration)
        chosen = self.work / "chosen"
        chosen.write_text("".join(f"{test_id}\n" for test_id in test_ids))
        with (self.work / "stestr.log").open("w") as log:
            command = [*self._stestr(), "run", "--subunit", "--load-list", str(chosen), "--concurrency", str(workers)]
            run = subprocess.Popen(command, cwd=self.work, stdout=subprocess.PIPE, stderr=log, env=self._environment())
            reader = subprocess.Popen(
                [self.python, READER], stdin=run.stdout, stdout=subprocess.PIPE, stderr=log, text=True
            )
            assert run.stdout
            assert reader.stdout
            run.stdout.close()
            try:
                for line in reader.stdout:
                    seen(outcome(json.loads(line)))
            finally:
                for process in (run, reader):
                    process.terminate()
                    process.wait()
        if reader.returncode not in (0, -15):
            print((self.work / "stestr.log").read_text(), file=sys.stderr)

    def _stestr(self) -> list[str]:
        packages = subprocess.run(
            [self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        stestr = str(self.python.parent / "stestr")
        return [
            stestr, "--test-path", f"{packages}/{TESTS}", "--top-dir", packages, "--group-regex", ONE_WORKER_A_CLASS
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """Nothing of the caller's cloud: tempest.conf alone says what is under test."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PYTHON"))}
        path = f"{self.python.parent}{os.pathsep}{own.get('PATH', os.defpath)}"
        return {**own, "TEMPEST_CONFIG_DIR": str((self.work / "etc").resolve()), "PATH": path}


def outcome(line: dict[str, object]) -> Outcome:
    """Return the outcome that a line of `subunit_lines` tells."""
    details = line["details"]
    assert isinstance(details, dict)
    verdict = VERDICT_OF_STATUS[str(line["status"])]
    tracebacks = {name: text for name, text in details.items() if name.startswith("traceback")}
    if verdict is Verdict.SKIPPED:
        reason = str(details.get("reason", "")).strip()
    elif verdict is Verdict.FAILED:
        reason = outcomes.error_line(next(iter(tracebacks.values()), "the worker ended in the middle of it"))
    else:
        reason = ""
    shown = "" if verdict is Verdict.PASSED else "\n".join(f"-- {name}\n{text}" for name, text in details.items())
    return Outcome(names.short(str(line["id"])), verdict, float(str(line["seconds"])), reason, shown)
