"""Samba: shares kept in its registry, so that they are the same after any restart, and changed while it serves.

`net conf import` replaces one share's definition in one transaction. A definition is looked at when a client connects;
so that one who is connected already feels it, the sessions of a share from which something was taken are closed.
Clients come again by themselves, and are let in by the new rules.

Files are written as root, whoever writes: who may use a share is said by its rules, and no account of this machine
owns what is in it. The share's file system is mounted without programs, devices and set-user-id bits.
"""

import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from isthmus.control.errors import StepFailed, Unavailable

RESERVED_NAMES = frozenset({"global", "homes", "printers", "print$", "ipc$"})
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\\ -]{0,254}\$?")
_SECONDS = 30.0


@dataclass(frozen=True)
class SmbShare:
    """A directory and who may use it. `readers` may only read."""

    name: str
    path: Path
    writers: Sequence[str]
    readers: Sequence[str]


def is_user_name(text: str) -> bool:
    """Say whether this can stand in a list of users: no group, no netgroup, no substitution, no second name."""
    return bool(_USER.fullmatch(text)) and not text.endswith(" ")


class Samba:
    """The shares of one Samba, told by its `smb.conf`."""

    def __init__(self, configuration: Path) -> None:
        self._configuration = configuration

    def check(self) -> None:
        """Raise `Unavailable` if the server does not answer."""
        result = self._run("smbcontrol", "smbd", "ping")
        if result.returncode:
            raise Unavailable(f"Samba ({self._configuration}) does not answer: start smbd")

    def publish(self, share: SmbShare) -> None:
        """Serve a share to exactly these users; nobody at all if there are none.

        Raises `Unavailable` if Samba's registry cannot be written now, `StepFailed` with its words if it refuses.
        """
        wanted = render(share)
        with self._locked():
            before = self._definition(share.name)
            if wanted is None:
                self._remove(share.name, known=before is not None)
                return
            if before is not None and _takes_away(before, wanted):
                self._closing(share.name).touch()
            if before is None or before.split() != wanted.split():
                with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
                    file.write(wanted)
                    file.flush()
                    self._change("import", file.name, share.name, subject=share.name)
            if self._closing(share.name).exists():
                self._close_sessions(share.name)

    def withdraw(self, name: str) -> None:
        """Serve a share no more, and forget it. Already gone: returns."""
        with self._locked():
            self._remove(name, known=self._definition(name) is not None)

    def names(self) -> frozenset[str]:
        """Return the names of all shares in the registry."""
        return frozenset(self._change("listshares", subject="the list of shares").split("\n")) - {""}

    def users(self) -> frozenset[str]:
        """Return the names of the users that this Samba has passwords of, in lower case."""
        result = self._run("pdbedit", "--list")
        if result.returncode:
            raise Unavailable(f"Samba's users ({self._configuration}) cannot be read: {result.stderr.strip()}")
        return frozenset(line.partition(":")[0].lower() for line in result.stdout.splitlines() if ":" in line)

    def _definition(self, name: str) -> str | None:
        result = self._run("net", "conf", "showshare", name)
        if result.returncode and "NO_SUCH_SERVICE" not in result.stderr + result.stdout:
            raise Unavailable(f"Samba's registry cannot be read for share {name}: {result.stderr.strip()}")
        return result.stdout if result.returncode == 0 else None

    def _remove(self, name: str, *, known: bool) -> None:
        if known:
            self._closing(name).touch()
            self._change("delshare", name, subject=name)
        if self._closing(name).exists():
            self._close_sessions(name)

    def _change(self, *words: str, subject: str) -> str:
        result = self._run("net", "conf", *words)
        if result.returncode:
            raise StepFailed(f"Samba refused {words[0]} of {subject}: {(result.stderr or result.stdout).strip()}")
        return result.stdout

    def _close_sessions(self, name: str) -> None:
        result = self._run("smbcontrol", "smbd", "close-share", name)
        # A server that is not there has no sessions, and reads the registry when it starts.
        if result.returncode and "find pid" not in result.stderr + result.stdout:
            raise Unavailable(f"Samba does not close the sessions of share {name}: {result.stderr.strip()}")
        self._closing(name).unlink()

    def _closing(self, name: str) -> Path:
        """Return the file that says, also to who comes after a crash, that sessions are still to be closed."""
        return self._configuration.with_name(f".closing-{name}")

    def _run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [program, f"--configfile={self._configuration}", *words]
        try:
            return subprocess.run(command, check=False, capture_output=True, text=True, timeout=_SECONDS)
        except FileNotFoundError as error:
            raise StepFailed(f"`{program}` is not installed: install samba") from error
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"Samba ({self._configuration}) does not answer within {_SECONDS:.0f} s") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Two programs that change the registry at once make one of them fail.
        path = self._configuration.with_name(self._configuration.name + ".lock")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def render(share: SmbShare) -> str | None:
    """Return the share in smb.conf's words, None if nobody may use it: an empty list of users would mean everybody."""
    users = sorted({*share.writers, *share.readers})
    if not users:
        return None
    write_list = f"\twrite list = {_quoted(share.writers)}\n" if share.writers else ""
    return (
        f"[{share.name}]\n"
        f"\tpath = {share.path}\n"
        "\tguest ok = no\n"
        "\tread only = yes\n"
        f"\tvalid users = {_quoted(users)}\n"
        f"{write_list}"
        "\tforce user = root\n"
        "\tfollow symlinks = no\n"
        "\twide links = no\n"
    )


def _takes_away(before: str, wanted: str) -> bool:
    """Say whether a user loses anything from one definition to the other."""
    return any(not _users(before, line) <= _users(wanted, line) for line in ("valid users", "write list"))


def _users(definition: str, parameter: str) -> frozenset[str]:
    found = re.search(rf"^\s*{parameter} = (.*)$", definition, re.MULTILINE)
    return frozenset(found[1].split(", ")) if found else frozenset()


def _quoted(users: Sequence[str]) -> str:
    return ", ".join(f'"{user}"' for user in sorted(set(users)))
