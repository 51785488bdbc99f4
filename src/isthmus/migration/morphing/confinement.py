"""Run one program of the guest's, confined: `python -m isthmus.migration.morphing.confinement JSON`.

Started by `unshare` as the first process of fresh mount, PID, network, IPC and UTS namespaces. It mounts /proc of that
PID namespace, a /dev of harmless nodes and an empty /run in the guest's root, makes that its only root, drops all
capabilities but those that changing files needs, forbids to gain any, sets resource limits, and runs the program.
When that ends, every process that it left behind dies with the namespace.

A system call filter is not used: this way in is for workers that are themselves disposable (docs/morphing.md).
"""

import json
import os
import resource
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from isthmus.migration.morphing import kernel_calls as kernel
from isthmus.migration.morphing.rooted_files import RootedFiles

GIB = 1 << 30
_NODES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "tty": (5, 0)}
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_KEPT = (
    kernel.Capability.CHOWN
    | kernel.Capability.DAC_OVERRIDE
    | kernel.Capability.FOWNER
    | kernel.Capability.FSETID
    | kernel.Capability.KILL
    | kernel.Capability.SETGID
    | kernel.Capability.SETUID
    | kernel.Capability.SYS_CHROOT
    | kernel.Capability.SETFCAP
)
_NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child=KILL")


@dataclass(frozen=True)
class Confined:
    """A program, the directory that is its root, its environment, and the block devices that it may see."""

    root: str
    command: Sequence[str]
    environment: Mapping[str, str]
    cpu_seconds: int
    devices: Sequence[str] = field(default=())
    host_tools: bool = False

    def argv(self) -> list[str]:
        """Return the command line that runs this confined."""
        return ["unshare", *_NAMESPACES, sys.executable, "-m", __spec__.name, json.dumps(asdict(self))]


def main() -> int:
    """Set the namespaces up, run the program, return its status as a shell would (128 + signal)."""
    confined = Confined(**json.loads(sys.argv[1]))
    os.umask(0)  # the modes below are meant as they are written
    if confined.host_tools:
        _mount_tools(confined.root)
    _mount_kernel_views(confined)
    os.umask(0o022)
    child = os.fork()
    if child == 0:
        _become(confined)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


def _become(confined: Confined) -> None:
    try:
        kernel.enter_root(confined.root)
        _limit(confined.cpu_seconds)
        kernel.keep_only(_KEPT)
        os.execvpe(confined.command[0], list(confined.command), dict(confined.environment))  # noqa: S606
    except OSError as error:
        sys.stderr.write(f"{confined.command[0]}: {error.strerror}\n")
    finally:
        os._exit(127)


def _limit(cpu_seconds: int) -> None:
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, 4 * GIB),
        (resource.RLIMIT_FSIZE, 8 * GIB),
        (resource.RLIMIT_NOFILE, 4096),
    ):
        resource.setrlimit(kind, (most, most))


def _mount_kernel_views(confined: Confined) -> None:
    files = RootedFiles(confined.root)
    try:
        places = {name: files.ensure_directory(f"/{name}") for name in ("proc", "dev", "run")}
    finally:
        files.close()
    kernel.mount("proc", places["proc"], "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    kernel.mount("tmpfs", places["run"], "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755,size=64m")
    kernel.mount("tmpfs", places["dev"], "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC, "mode=755,size=16m")
    for name, (major, minor) in _NODES.items():
        node = f"{places['dev']}/{name}"
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
    for name, target in _LINKS.items():
        os.symlink(target, f"{places['dev']}/{name}")
    os.mkdir(f"{places['dev']}/shm", 0o1777)
    for device in confined.devices:
        os.mknod(f"{places['dev']}/{os.path.basename(device)}", 0o600 | stat.S_IFBLK, os.stat(device).st_rdev)


def _mount_tools(root: str) -> None:
    """Fill an empty directory with the worker's programs, read-only, and none of its data."""
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID, "mode=755,size=64m")
    os.mkdir(f"{root}/usr")
    kernel.mount("/usr", f"{root}/usr", "", kernel.MS_BIND)
    kernel.mount("", f"{root}/usr", "", kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID)
    for name in ("bin", "sbin", "lib", "lib64"):
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
    os.mkdir(f"{root}/etc")
    os.mkdir(f"{root}/tmp", 0o1777)  # noqa: S108 - of a fresh tmpfs
    for name in ("/etc/ld.so.cache", "/etc/mke2fs.conf"):
        if os.path.isfile(name):
            with open(name, "rb") as source, open(f"{root}{name}", "wb") as copy:
                copy.write(source.read())


if __name__ == "__main__":
    sys.exit(main())
