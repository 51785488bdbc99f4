"""What the demonstration shows around a move: the assessment and the plan before it, the signed report after it."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.control_plane import ISTHMUS

_WIDTH = 120


def look_ahead(
    environment: Mapping[str, str], say: Callable[[str], None], *, machine: str, source: str, destination: str
) -> None:
    """Say what `isthmus migrate --dry-run` tells; raise if something critical is in the way."""
    words = (machine, "--from", source, "--to", destination, "--default-network", "default")
    told = json.loads(_said(environment, "migrate", *words, "--dry-run", "--format", "json"))
    say(
        f"assessment: {told['to_move']} to move in about {told['first_pass_takes']}, down for about {told['down_time']}"
    )
    for line in told["concerns"].splitlines():
        say(f"assessment: {line}")
    for name in [key for key in told if key.startswith(("pass", "last pass", "deployment"))]:
        steps = told[name].splitlines()
        say(f"plan: {name}: {len(steps)} steps")
        for step in steps:
            say(f"plan:   {step}")


def look_back(environment: Mapping[str, str], say: Callable[[str], None], *, deployment: str) -> None:
    """Fetch the signed report of a deployment's machine, check its signature and say the chief of it; raise if not."""
    with tempfile.TemporaryDirectory() as name:
        _said(environment, "report", "fetch", deployment, "--directory", name)
        key = Path(name) / "key.pem"
        key.write_text(_said(environment, "report", "key"), encoding="ascii")
        (report,) = Path(name).glob("*.report.json")
        verdict = _said(environment, "report", "verify", str(report), "--key", str(key))
        for heading, facts in json.loads(report.read_text(encoding="utf-8")).items():
            say(f"report: {heading}: {_shortened(json.dumps(facts))}")
    say(f"report: {verdict.strip().removeprefix(f'{name}/')}")


def _said(environment: Mapping[str, str], *words: str) -> str:
    """What `isthmus` prints for these words; RuntimeError with what it complained of if it fails."""
    done = subprocess.run([ISTHMUS, *words], env=environment, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"isthmus {' '.join(words[:2])} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def _shortened(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 2]} …"
