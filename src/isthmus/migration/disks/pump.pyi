"""The native part of the engine; pump.c says how it works."""

from typing import Any

from _typeshed import ReadableBuffer, WriteableBuffer

class Pump:
    """Moves the NBD connections of one side in a thread of its own.

    Made, filled and asked in one Python thread. A buffer must stay as it is until its request has completed or the
    pump is stopped. Raises ValueError if used after `stop` or without a connection.
    """

    def add(self, connection: Any) -> None:
        """Move this connection too: a ready nbd.NBD, of which from now on only facts may be asked."""

    def read(self, offset: int, buffer: WriteableBuffer, token: object) -> None:
        """Fill the buffer."""

    def write(self, offset: int, buffer: ReadableBuffer, token: object) -> None:
        """Write the buffer."""

    def zero(self, offset: int, length: int, token: object) -> None:
        """Make bytes read as zeros."""

    def status(self, offset: int, length: int, token: object) -> None:
        """Ask for extents."""

    def flush(self, token: object) -> None:
        """Flush."""

    def completed(self) -> list[tuple[Any, int, dict[str, list[tuple[int, int]]]]]:
        """What has completed since the last call: token, 0 or an errno, extents as (length, flags) by context."""

    def failure(self) -> str:
        """Why a connection is gone, which ends the pump; empty while it moves."""

    def fileno(self) -> int:
        """A descriptor that is readable when there is something to collect."""

    def stop(self) -> None:
        """End the thread and drop what is under way. May be called again."""
