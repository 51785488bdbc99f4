"""Podman with its CNI back end on a host of the network playground: state of its own, networks from one directory."""

import subprocess
from pathlib import Path

from lab import network_image
from lab.network_host import NetworkHost

PODMAN = "/usr/bin/podman"
_LIMITS = (
    "--ulimit",
    "nofile=1024:1024",
    "--ulimit",
    "nproc=4096:4096",
)  # what a container without privileges may raise


class Podman:
    """`podman.run("--network", "blue", "ip", "addr")`; plug-ins and networks are in `plugins` and `networks`."""

    def __init__(self, host: NetworkHost, directory: Path) -> None:
        self._host = host
        self._directory = directory
        self.plugins, self.networks = directory / "bin", directory / "net.d"
        for place in (self.plugins, self.networks):
            place.mkdir(parents=True, exist_ok=True)
        self._configuration = directory / "containers.conf"
        self._configuration.write_text(
            f'[network]\nnetwork_backend = "cni"\ncni_plugin_dirs = ["{self.plugins}", "/usr/lib/cni"]\n'
            f'network_config_dir = "{self.networks}"\n[engine]\ncgroup_manager = "cgroupfs"\n'
        )

    def load(self) -> None:
        """Import the playground's image."""
        subprocess.run(
            self._command("import", "-", network_image.NAME),
            input=network_image.root_archive(),
            check=True,
            capture_output=True,
            timeout=300,
        )

    def run(self, *words: str) -> str:
        """Run a container to its end: options first, then the command; RuntimeError with Podman's words."""
        return self.tell("--runtime", "runc", "run", "--rm", *_LIMITS, *words)

    def tell(self, *words: str) -> str:
        """Run another command."""
        done = subprocess.run(self._command(*words), capture_output=True, text=True, timeout=300, check=False)
        if done.returncode:
            raise RuntimeError(f"podman {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def _command(self, *words: str) -> list[str]:
        places = (
            "--root",
            f"{self._directory}/root",
            "--runroot",
            "/run/containers/storage",
            "--cgroup-manager=cgroupfs",
        )
        return self._host.command(
            "env", f"CONTAINERS_CONF={self._configuration}", PODMAN, *places, "--storage-driver=vfs", *words
        )
