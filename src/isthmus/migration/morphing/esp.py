"""Files of an EFI system partition, by mtools: in user space, so that the worker's kernel needs no vfat."""

import posixpath
import tempfile
from pathlib import Path

from isthmus.control.errors import StepFailed
from isthmus.migration.morphing.contract import LARGEST_ESP_FILE
from isthmus.migration.morphing.programs import Finished, run_limited

_SECONDS = 60


class EspFiles:
    """One FAT file system on a block device."""

    def __init__(self, device: str) -> None:
        """Use the file system on `device`, which is not mounted."""
        self._device = device

    def exists(self, path: str) -> bool:
        """Return whether a file or directory is there; FAT does not tell upper from lower case."""
        return self._mtool("mdir", "-b", f"::{path}").status == 0

    def read(self, path: str) -> str | None:
        """Return a text file; None if it is not there. Raises `StepFailed` if it is larger than 48 KiB."""
        if not self.exists(path):
            return None
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "file"
            self._must("mcopy", f"::{path}", str(file))
            with file.open("rb") as content:
                text = content.read(LARGEST_ESP_FILE + 1)
        if len(text) > LARGEST_ESP_FILE:
            raise StepFailed(f"{path} in the EFI system partition is larger than 48 KiB: make it smaller at the source")
        return text.decode(errors="surrogateescape")

    def write(self, path: str, content: str) -> None:
        """Replace a file. Raises `StepFailed`."""
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "file"
            file.write_bytes(content.encode(errors="surrogateescape"))
            self._must("mcopy", "-o", str(file), f"::{path}")

    def copy(self, source: str, destination: str) -> None:
        """Copy a file; make the directories that are missing. Raises `StepFailed`."""
        directory = ""
        for part in posixpath.dirname(destination).strip("/").split("/"):
            directory = f"{directory}/{part}"
            if not self.exists(directory):
                self._must("mmd", f"::{directory}")
        with tempfile.TemporaryDirectory() as name:
            file = Path(name) / "file"
            self._must("mcopy", f"::{source}", str(file))
            self._must("mcopy", "-o", str(file), f"::{destination}")

    def _must(self, tool: str, *arguments: str) -> None:
        result = self._mtool(tool, *arguments)
        if result.status:
            raise StepFailed(f"{tool} {' '.join(arguments)} on the EFI system partition failed: {result.tail()}")

    def _mtool(self, tool: str, *arguments: str) -> Finished:
        return run_limited([tool, "-i", self._device, *arguments], _SECONDS)
