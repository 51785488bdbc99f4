"""The parts of a guest that is only a kernel and an initramfs: Debian's cloud kernel, its modules, a cpio archive.

kernel = cloud_kernel()
order = load_order(modules_of(kernel), ("virtio_net", "nfsv4"))
archive = cpio("init", 0o100755, program) + cpio("TRAILER!!!", 0, b"")
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path


def cloud_kernel() -> Path:
    """Return the newest cloud kernel in /boot that has modules; RuntimeError if there is none."""
    found = [path for path in Path("/boot").glob("vmlinuz-*-cloud-amd64") if modules_of(path).is_dir()]
    if not found:
        raise RuntimeError("no cloud kernel in /boot; install the package linux-image-cloud-amd64")
    return max(found, key=lambda path: path.stat().st_mtime)


def modules_of(kernel: Path) -> Path:
    """Return the directory of a kernel's modules."""
    return Path("/lib/modules") / kernel.name.removeprefix("vmlinuz-")


def load_order(modules: Path, wanted: Sequence[str]) -> list[str]:
    """Return paths (relative to `modules`) of the wanted modules and what they need, in the order to load them.

    A module that is built into the kernel, or is not there, is left out.
    """
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text(encoding="ascii").splitlines():
        module, _, rest = line.partition(":")
        needs[module] = rest.split()
    by_name = {Path(module).name.partition(".")[0].replace("-", "_"): module for module in needs}
    order: list[str] = []
    for name in wanted:
        if name in by_name:
            order += [need for need in [*reversed(needs[by_name[name]]), by_name[name]] if need not in order]
    return order


def static_program(source: Path, target: Path) -> bytes:
    """Compile one C file that needs no library of the guest's and return the program; RuntimeError if it fails."""
    command = ["gcc", "-static", "-O1", "-w", "-o", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise RuntimeError(f"{source.name} does not compile: {done.stderr[-500:]}")
    return target.read_bytes()


def dynamic_program(program: Path) -> list[Path]:
    """Return a program and the libraries that it loads; RuntimeError if it is not installed."""
    if not program.exists():
        raise RuntimeError(f"{program} is missing; run scripts/setup")
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True, timeout=60)
    return [program, *(Path(word) for word in done.stdout.split() if word.startswith("/"))]


def cpio(name: str, mode: int, content: bytes) -> bytes:
    """Return an entry of a cpio archive (newc format, the kernel's buffer-format.rst); `TRAILER!!!` ends it."""
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name.encode() + b"\0"
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
