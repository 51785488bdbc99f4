"""Container engines on a host of the network playground: dockerd and containerd with state of their own."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab import network_image
from lab.network_host import NetworkHost, wait_for

DOCKER = "/usr/bin/docker"
START_SECONDS = 120
_CGROUPS = Path("/sys/fs/cgroup")


class Engine:
    """A daemon on a host, which can be killed and started again; a context manager."""

    name = ""

    def __init__(self, host: NetworkHost, directory: Path) -> None:
        self.host = host
        self.directory = directory
        self.socket = directory / f"{self.name}.sock"
        self.log = directory / f"{self.name}.log"
        # Short, and of this host alone: cgroups are the machine's.
        self.cgroup = f"/isthmus-lab-{os.getpid()}-{host.pid}"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the daemon; return when it answers."""
        self._process = self.host.spawn(*self.daemon(), log=self.log)

        def answers() -> bool:
            if self._process and self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {self.log.read_text()[-2000:]}")
            return self.host.succeeds(*self.question())

        wait_for(f"{self.name} answers", answers, START_SECONDS)

    def kill(self) -> None:
        """Kill the daemon without warning; its containers go on."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End the daemon."""
        self._end(signal.SIGTERM)

    def daemon(self) -> list[str]:
        """Return the command line of the daemon."""
        raise NotImplementedError

    def question(self) -> list[str]:
        """Return a command that succeeds once the daemon answers."""
        raise NotImplementedError

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if program := self.host.program_of(self._process):
            program.send_signal(how)
        self._process.wait(60)
        self._process = None


class Docker(Engine):
    """dockerd: `docker.run("run", "--rm", …)`; `tell(…)` for commands that may fail.

    With `options` as `("--live-restore",)` (the default) its containers outlive it; swarm mode refuses that.

    Its exec-root and its second socket are in /run, which each host has for itself, as is the plug-ins' directory.
    """

    name = "docker"

    def __init__(self, host: NetworkHost, directory: Path, options: tuple[str, ...] = ("--live-restore",)) -> None:
        super().__init__(host, directory)
        self.options = options

    def daemon(self) -> list[str]:
        """Return the command line of dockerd."""
        data = self.directory
        return [
            *("/usr/sbin/dockerd", "--data-root", f"{data}/docker", "--exec-root", "/var/run/docker"),
            *(
                "-H",
                f"unix://{self.socket}",
                "-H",
                "unix:///run/docker.sock",
                "--pidfile",
                f"{data}/docker.pid",
                "--cgroup-parent",
                self.cgroup,
            ),
            *self.options,
        ]

    def question(self) -> list[str]:
        """Return `docker version`."""
        return [DOCKER, "-H", f"unix://{self.socket}", "version"]

    def start(self) -> None:
        """Start dockerd; have the image."""
        super().start()
        # Docker sets FORWARD to DROP; frames of other bridges must not go through it.
        self.host.run("sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", check=False)
        if not self.host.succeeds(*self.command("image", "inspect", network_image.NAME)):
            words = ("-c", "ENV PATH=/bin:/usr/bin", "-c", 'CMD ["/bin/sh"]')
            subprocess.run(
                self.command("import", *words, "-", network_image.NAME, inside=True),
                input=network_image.root_archive(),
                check=True,
                capture_output=True,
                timeout=120,
            )

    def command(self, *words: str, inside: bool = False) -> list[str]:
        """Return the command line of a docker command; `inside`: as run from out here."""
        line = [DOCKER, "-H", f"unix://{self.socket}", *words]
        return self.host.command(*line) if inside else line

    def run(self, *words: str, limit: float = 120) -> str:
        """Run a docker command and return its output, stripped; RuntimeError shows what it said if it failed."""
        return self.host.run(*self.command(*words), limit=limit).strip()

    def tell(self, *words: str, limit: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a docker command and return how it ended, well or not."""
        return subprocess.run(
            self.command(*words, inside=True), capture_output=True, text=True, timeout=limit, check=False
        )

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Return what docker knows of a `network`, `container`, …"""
        (found,) = json.loads(self.run(kind, "inspect", name))
        known: dict[str, Any] = found
        return known


class Containerd(Engine):
    """containerd with its CRI: configured by files in `cni_configurations`, with plug-ins in `cni_plugins`."""

    name = "containerd"

    def __init__(self, host: NetworkHost, directory: Path) -> None:
        super().__init__(host, directory)
        self.cni_plugins = directory / "cni-bin"
        self.cni_configurations = directory / "cni-net.d"
        for place in (self.cni_plugins, self.cni_configurations):
            place.mkdir(exist_ok=True)
        for plugin in Path("/usr/lib/cni").iterdir():
            if not (self.cni_plugins / plugin.name).exists():
                (self.cni_plugins / plugin.name).symlink_to(plugin)
        (directory / "config.toml").write_text(f"""\
version = 2
root = "{directory}/root"
state = "/run/containerd/state"
[grpc]
  address = "{self.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{network_image.NAME}"
  disable_tcp_service = true
  # Without CAP_SYS_RESOURCE, runc dies lowering it.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{self.cni_plugins}"
    conf_dir = "{self.cni_configurations}"
""")

    def daemon(self) -> list[str]:
        """Return the command line of containerd."""
        return ["/usr/bin/containerd", "-c", str(self.directory / "config.toml")]

    def question(self) -> list[str]:
        """Return `ctr version`."""
        return ["/usr/bin/ctr", "-a", str(self.socket), "version"]

    def start(self) -> None:
        """Start containerd; have the image."""
        super().start()
        archive = self.directory / "image.tar"
        if not archive.exists():
            archive.write_bytes(network_image.oci_archive())
            self.ctr("images", "import", str(archive))

    def ctr(self, *words: str) -> str:
        """Run `ctr` in the namespace of the CRI and return its output, stripped."""
        return self.host.run("/usr/bin/ctr", "-a", str(self.socket), "-n", "k8s.io", *words, limit=120).strip()


def remove_cgroups(host_pid: int) -> None:
    """Remove the empty cgroups that the engines of a host, by now dead, have left; the kernel does not."""
    for top in _CGROUPS.glob(f"*/isthmus-lab-{os.getpid()}-{host_pid}"):
        for directory in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                directory.rmdir()
        with contextlib.suppress(OSError):
            top.rmdir()
