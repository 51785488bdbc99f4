"""A stored object as a file that can be read anywhere in it, by ranges."""

import io
from typing import IO, cast

from isthmus.migration.providers.image_store.contract import Store, Stored

_BUFFER = 256 << 10


class _Ranges(io.RawIOBase):
    def __init__(self, store: Store, stored: Stored) -> None:
        super().__init__()
        self._store, self._stored, self._place = store, stored, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, as files do."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._stored.size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def tell(self) -> int:
        """Return where it is."""
        return self._place

    def readinto(self, buffer: object) -> int:
        """Fill the buffer with one request."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        length = min(len(view), self._stored.size - self._place)
        if length <= 0:
            return 0
        found = self._store.read(self._stored.key, self._place, length)[:length]
        view[: len(found)] = found
        self._place += len(found)
        return len(found)


def opened(store: Store, stored: Stored) -> IO[bytes]:
    """Return the object as a file; close it (`with`). Raises what reading the store raises."""
    return cast("IO[bytes]", io.BufferedReader(_Ranges(store, stored), _BUFFER))
