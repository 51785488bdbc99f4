"""The registry of a Windows guest: hives are copied out, read and changed in a confined process, and put back."""

import base64
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from isthmus.control.errors import StepFailed, Unavailable
from isthmus.migration.morphing.contract import GuestAccess
from isthmus.migration.morphing.windows_paths import find_path

_LARGEST_HIVE = 1 << 30
_SECONDS = 300
_NOBODY = 65534
# Not imported from hive_tool: that imports hivex, which only the confined process is to have.
_BROKEN = 3


class ValueType(IntEnum):
    """Types of registry values ([MS-RRP] 2.2.9)."""

    SZ = 1
    EXPAND_SZ = 2
    BINARY = 3
    DWORD = 4
    MULTI_SZ = 7


@dataclass(frozen=True)
class Value:
    """One registry value as it is in the hive."""

    type: int
    content: bytes

    @classmethod
    def text(cls, text: str, kind: ValueType = ValueType.SZ) -> "Value":
        """Return a string value."""
        return cls(kind, f"{text}\0".encode("utf-16-le"))

    @classmethod
    def texts(cls, *texts: str) -> "Value":
        """Return a value of several strings."""
        return cls(ValueType.MULTI_SZ, "".join(f"{text}\0" for text in (*texts, "")).encode("utf-16-le"))

    @classmethod
    def number(cls, number: int) -> "Value":
        """Return a number of 32 bits."""
        return cls(ValueType.DWORD, struct.pack("<I", number))

    def as_texts(self) -> tuple[str, ...]:
        """Return the strings that are not empty."""
        return tuple(text for text in self.content.decode("utf-16-le", errors="replace").split("\0") if text)

    def as_text(self) -> str:
        """Return the first string, empty if there is none."""
        return next(iter(self.as_texts()), "")

    def as_number(self) -> int:
        """Return the number, 0 for what is none."""
        return int.from_bytes(self.content[:4], "little") if self.type == ValueType.DWORD else 0


@dataclass(frozen=True)
class Key:
    """A key that was read: names are compared as Windows does, without regard to case."""

    values: Mapping[str, Value] = field(default_factory=dict)
    keys: Mapping[str, "Key"] = field(default_factory=dict)

    def value(self, name: str) -> Value | None:
        """Return a value by name."""
        return next((value for key, value in self.values.items() if key.lower() == name.lower()), None)

    def text(self, name: str) -> str:
        """Return a string value, empty if it is missing."""
        found = self.value(name)
        return found.as_text() if found else ""

    def key(self, path: str) -> "Key":
        """Return a key below this one; an empty one if it is missing."""
        found = self
        for name in path.split("\\"):
            found = next((key for each, key in found.keys.items() if each.lower() == name.lower()), Key())
        return found


Edits = Mapping[str, Mapping[str, Value]]
"""Values to set, by the path of their key from the hive's root, "\\\\" between names."""


class Hive:
    """One hive of the guest's, by its path."""

    def __init__(self, guest: GuestAccess, path: str) -> None:
        """Raises `StepFailed` if there is no such hive."""
        found = find_path(guest, path)
        if found is None:
            raise StepFailed(f"{path} is not in the guest: repair its Windows in the source machine")
        self._guest = guest
        self._path = found

    def read(self, depths: Mapping[str, int]) -> dict[str, Key]:
        """Return keys by path, each down to its depth; a missing one is empty. Raises `StepFailed` if it is broken."""
        with tempfile.TemporaryDirectory(prefix="isthmus-hive-") as name:
            answer = self._run(self._copied(Path(name)), depths, {})
        return {path: _parse(tree) for path, tree in answer.items()}

    def edit(self, edits: Edits) -> bool:
        """Set values, where they are not yet so; return whether any was not. Raises `StepFailed` for a broken hive."""
        with tempfile.TemporaryDirectory(prefix="isthmus-hive-") as name:
            copy = self._copied(Path(name))
            present = {path: _parse(tree) for path, tree in self._run(copy, dict.fromkeys(edits, 0), {}).items()}
            missing = {
                path: {key: value for key, value in values.items() if present[path].value(key) != value}
                for path, values in edits.items()
            }
            wanted = {path: values for path, values in missing.items() if values}
            if not wanted:
                return False
            self._run(copy, {}, wanted)
            self._guest.upload(copy, self._path)
        return True

    def _copied(self, directory: Path) -> Path:
        copy = directory / "hive"
        self._guest.download(self._path, copy, _LARGEST_HIVE)
        os.chown(directory, _NOBODY, _NOBODY)
        os.chown(copy, _NOBODY, _NOBODY)
        return copy

    def _run(self, copy: Path, reads: Mapping[str, int], writes: Edits) -> dict[str, Any]:
        encoded = {
            path: {key: (value.type, base64.b64encode(value.content).decode()) for key, value in values.items()}
            for path, values in writes.items()
        }
        request = json.dumps({"file": str(copy), "reads": dict(reads), "writes": encoded})
        command = ["unshare", "--net", "--ipc", sys.executable, "-m", "isthmus.migration.morphing.hive_tool"]
        try:
            done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise StepFailed(f"registry hive {self._path} could not be read in {_SECONDS} s: it is broken") from None
        if done.returncode not in (0, _BROKEN):
            raise Unavailable(
                f"registry hives cannot be read on this worker: install python3-hivex. {done.stderr.strip()[-200:]}"
            )
        if done.returncode:
            raise StepFailed(
                f"registry hive {self._path} is broken: repair the guest's Windows in the source machine. "
                f"{done.stderr.strip()[-200:]}"
            )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


def _parse(tree: dict[str, Any] | None) -> Key:
    if tree is None:
        return Key()
    values = {name: Value(kind, base64.b64decode(content)) for name, (kind, content) in tree["values"].items()}
    return Key(values, {name: _parse(below) for name, below in tree["keys"].items()})
