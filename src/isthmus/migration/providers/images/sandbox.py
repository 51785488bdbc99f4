"""QEMU's tools on files that somebody else made: they see these files, their own program and nothing else.

bubblewrap gives each a mount namespace with /usr read-only and the image, no network, no processes but its own, and no
capability but that to read a file whoever owns it. The image's format is fixed, so a header cannot name another.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from isthmus.control.errors import StepFailed, Unavailable
from isthmus.migration.providers.images.formats import ImageFile

_PLACE = "/images"
_MEMORY_BYTES = 4 << 30
_TOOL_SECONDS = 60


def confined(
    command: Sequence[str], files: Sequence[Path], *, writable: bool = False, exports: Path | None = None
) -> list[str]:
    """Return a command line that runs `command` with `files` in /images and the directory `exports` as /exports."""
    words = ["bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--new-session", "--clearenv", "--setenv", "PATH", "/usr/sbin:/usr/bin", "--setenv", "LC_ALL", "C"]
    words += ["--cap-drop", "ALL", "--cap-add", "CAP_DAC_OVERRIDE"]
    words += ["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - its own
    for name in ("lib", "lib64", "bin", "sbin"):
        words += ["--symlink", f"usr/{name}", f"/{name}"]
    for file in files:
        words += ["--bind" if writable else "--ro-bind", str(file), f"{_PLACE}/{file.name}"]
    if exports:
        words += ["--bind", str(exports), "/exports"]
    return [*words, "--chdir", "/tmp", "prlimit", f"--as={_MEMORY_BYTES}", "--core=0", *command]  # noqa: S108


def node(image: ImageFile) -> str:
    """Return the image as --image-opts of QEMU's tools have it, its format fixed."""
    name = f"{_PLACE}/{image.path.name}".replace(",", ",,")
    if not image.offset:
        return f"driver={image.format.driver},file.driver=file,file.filename={name}"
    where = f"file.offset={image.offset},file.size={image.length},file.file.driver=file,file.file.filename={name}"
    return f"driver={image.format.driver},file.driver=raw,{where}"


def is_locked(words: str) -> bool:
    """Return whether a tool's last words say that another program has the image open."""
    return "Is another process using the image" in words or " lock" in words


def run_tool(command: Sequence[str], image: ImageFile, *, seconds: int = _TOOL_SECONDS) -> tuple[int, str, str]:
    """Run a tool on an image that it may only read; return its status, output and last words.

    Raises `StepFailed` if it takes too long, `Unavailable` if bubblewrap is missing.
    """
    words = confined(command, [image.path, *image.extents])
    try:
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise StepFailed(f"{image.label} could not be looked into in {seconds} s: get the image again") from None
    except FileNotFoundError:
        raise Unavailable("bubblewrap (bwrap) is not installed on this worker: install it") from None
    return done.returncode, done.stdout, done.stderr.strip()[-400:]
