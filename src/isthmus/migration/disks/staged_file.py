"""Where a staged disk lies: its files on a worker; see `staging`."""

import os
from pathlib import Path

from isthmus.migration.disks.extents import chunks_in
from isthmus.migration.disks.state import RECORD_BYTES


class StagedFile:
    """One staged disk: its files and its size in bytes. `where` names its worker, for messages."""

    def __init__(self, data: Path, records: Path, size: int, where: str) -> None:
        self.data = data
        self.records = records
        self.size = size
        self.where = where

    @property
    def journal(self) -> Path:
        """Where the second leg keeps its journal."""
        return self.data.with_suffix(".journal")

    def make(self) -> None:
        """Make the files, sparse and on stable storage."""
        for path, length in ((self.data, self.size), (self.records, chunks_in(self.size) * RECORD_BYTES)):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.truncate(descriptor, length)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def is_whole(self) -> bool:
        """Whether both files are there and have their lengths."""
        try:
            lengths = self.data.stat().st_size, self.records.stat().st_size
        except OSError:
            return False
        return lengths == (self.size, chunks_in(self.size) * RECORD_BYTES)
