"""File-share clients that are programs: Samba's `smbclient` and libnfs, run from a client's own address.

They are quick, and know nothing of the kernel's ways: no caches, no retries. `lab.share_guest` has kernel clients.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.share_network import Client, Namespace


class RefusedError(Exception):
    """The server refused; `status` is its word, as NT_STATUS_ACCESS_DENIED or NFS4ERR_ACCESS."""

    def __init__(self, status: str, said: str) -> None:
        super().__init__(said)
        self.status = status


@dataclass(frozen=True)
class SmbClient:
    """One user of one SMB share, at a client. Files lie in the share's root."""

    client: Client
    server: str
    share: str
    user: str
    password: str
    port: int = 445

    def put(self, name: str, data: bytes) -> None:
        """Write a file; RefusedError."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self._run(f'put "{file.name}" "{name}"')

    def put_zeros(self, name: str, size: int) -> None:
        """Write a file of `size` zeros; RefusedError."""
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(size)
            self._run(f'put "{file.name}" "{name}"')

    def get(self, name: str) -> bytes:
        """Return what a file holds; RefusedError."""
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / "copy"
            self._run(f'get "{name}" "{copy}"')
            return copy.read_bytes()

    def names(self) -> list[str]:
        """Return the names of the files in the share, sorted; RefusedError."""
        lines = re.findall(r"^  (.+?) {2,}[A-Z]* +\d+  \w{3} ", self._run("ls"), re.MULTILINE)
        return sorted(name for name in lines if name not in {".", ".."})

    def remove(self, name: str) -> None:
        """Remove a file; RefusedError."""
        self._run(f'rm "{name}"')

    def _run(self, command: str) -> str:
        with tempfile.NamedTemporaryFile("w") as secret:  # argv is for all to read
            secret.write(f"username={self.user}\npassword={self.password}\n")
            secret.flush()
            address = f"//{self.server}/{self.share}"
            options = ["-p", str(self.port), "-A", secret.name, "-t", "20", "-s", "/dev/null"]
            done = self.client.run("smbclient", address, *options, "-c", command, limit=120)
        said = done.stdout + done.stderr
        if found := re.search(r"NT_STATUS_\w+", said):
            raise RefusedError(found.group(), said)
        if done.returncode:
            raise RefusedError(f"exit {done.returncode}", said)
        return said


@dataclass(frozen=True)
class LibnfsClient:
    """One NFS export, seen by libnfs. Version 3 needs `mount_port`; libnfs 4.0 cannot write by version 4."""

    client: Namespace
    server: str
    path: str
    port: int = 2049
    version: int = 4
    mount_port: int | None = None

    def names(self) -> list[str]:
        """Return the names of the files in the export, sorted; RefusedError."""
        return sorted(line.split()[-1] for line in self._run("nfs-ls", self._url()).splitlines())

    def get(self, name: str) -> bytes:
        """Return what a file holds; RefusedError."""
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(directory) / "copy"
            self._run("nfs-cp", self._url(name), str(copy))
            return copy.read_bytes()

    def put(self, name: str, data: bytes) -> None:
        """Write a file; RefusedError."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            self._run("nfs-cp", file.name, self._url(name))

    def _url(self, name: str = "") -> str:
        ports = f"nfsport={self.port}" + (f"&mountport={self.mount_port}" if self.mount_port else "")
        return f"nfs://{self.server}{self.path.rstrip('/')}/{name}?version={self.version}&{ports}"

    def _run(self, *command: str) -> str:
        done = self.client.run(*command, limit=120)
        said = done.stdout + done.stderr
        if done.returncode or "Failed to" in said:
            found = re.search(r"(NFS4ERR|NFS3ERR|MNT3ERR)_\w+", said)
            raise RefusedError(found.group() if found else f"exit {done.returncode}", said)
        return done.stdout
