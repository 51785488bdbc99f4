"""The small static C programs that are copied to where nothing else of Isthmus is: built beforehand, or with gcc."""

import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from isthmus.control.errors import NotSupported, StepFailed

_BUILD_SECONDS = 120


def content_of(name: str, package: str, source: str) -> bytes:
    """Return a program: that of this name beside Python's, else built from a package's C file.

    Raises `NotSupported` without a compiler, `StepFailed` with what it said.
    """
    built = Path(sys.executable).with_name(name)
    if built.exists():
        return built.read_bytes()
    if shutil.which("gcc") is None:
        raise NotSupported(
            f"there is no {name} beside {sys.executable} and no gcc to build it; install gcc and libc6-dev"
        )
    with tempfile.TemporaryDirectory() as scratch:
        file, output = Path(scratch) / "program.c", Path(scratch) / name
        file.write_bytes(resources.files(package).joinpath(source).read_bytes())
        done = subprocess.run(
            ["gcc", "-std=c11", "-O2", "-static", "-s", "-o", str(output), str(file)],
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StepFailed(f"{name} cannot be built: {' '.join(done.stderr.split())[-300:]}; install libc6-dev")
        return output.read_bytes()
