"""A virtual environment built from a lock file of hashes, kept until that file changes."""

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

BASE_PYTHON = "/usr/bin/python3"


def ensure(directory: Path, lock: Path) -> Path:
    """Return the Python of a virtual environment that holds exactly what `lock` names, made now if there is none.

    Two runs at once wait for one another. Raises CalledProcessError when pip fails; what it said is on stderr.
    """
    directory.mkdir(parents=True, exist_ok=True)
    python, stamp = directory / "bin" / "python", directory / "stamp"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    with (directory / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return python
        print(f"installing {lock.name} into {directory}", file=sys.stderr)
        _quietly([BASE_PYTHON, "-m", "venv", str(directory)])
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
        _quietly([*pip, "--require-hashes", "--no-deps", "-r", str(lock)])
        stamp.write_text(wanted)
    return python


def _quietly(command: list[str]) -> None:
    """Run a command, showing what it said only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
