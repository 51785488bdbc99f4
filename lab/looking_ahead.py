"""What the demonstration shows before it moves a machine: the assessment and the plan, in few lines."""

import json
import subprocess
from collections.abc import Callable, Mapping

from lab.control_plane import ISTHMUS


def look_ahead(
    environment: Mapping[str, str], say: Callable[[str], None], *, machine: str, source: str, destination: str
) -> None:
    """Say what `isthmus migrate --dry-run` tells; raise if something critical is in the way."""
    words = (machine, "--from", source, "--to", destination, "--default-network", "default")
    done = subprocess.run(
        [ISTHMUS, "migrate", *words, "--dry-run", "--format", "json"],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the dry run ended with {done.returncode}: {done.stderr}")
    told = json.loads(done.stdout)
    say(
        f"assessment: {told['to_move']} to move in about {told['first_pass_takes']}, down for about {told['down_time']}"
    )
    for line in told["concerns"].splitlines():
        say(f"assessment: {line}")
    for name in [key for key in told if key.startswith(("pass", "last pass", "deployment"))]:
        steps = told[name].splitlines()
        say(f"plan: {name}: {len(steps)} steps, {steps[0].lower()} to {steps[-1].lower()}")
