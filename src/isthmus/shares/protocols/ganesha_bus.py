"""What NFS-Ganesha is told over D-Bus: exports added, changed and removed while it serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jeepney import DBusAddress, DBusErrorResponse, MessageType, new_method_call
from jeepney.auth import AuthenticationError
from jeepney.io.blocking import DBusConnection, open_dbus_connection

from isthmus.control.errors import StepFailed, Unavailable

_EXPORTS = DBusAddress(
    "/org/ganesha/nfsd/ExportMgr", bus_name="org.ganesha.nfsd", interface="org.ganesha.nfsd.exportmgr"
)
_SECONDS = 30.0
_SILENT = (
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Disconnected",
)


class GaneshaBus:
    """Ganesha at the other end of one bus. Each call opens the bus anew: that takes a millisecond and never is stale.

    All methods raise `Unavailable` if the server does not answer, `StepFailed` with its words if it refuses.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def update(self, file: Path, export_id: int) -> None:
        """Have an export be as in the file; one that the server does not know is added."""
        self._call("UpdateExport", "ss", str(file), f"EXPORT(Export_Id={export_id})", subject=file.name)

    def remove(self, export_id: int) -> None:
        """Have an export served no more. Already gone: returns."""
        if export_id in self.export_ids():
            self._call("RemoveExport", "q", export_id, subject=f"export {export_id}")

    def export_ids(self) -> frozenset[int]:
        """Return the ids of all exports that are served."""
        answer = self._call("ShowExports", None, subject="the list of exports")
        return frozenset(int(export[0]) for export in answer[1])

    def _call(self, method: str, signature: str | None, *arguments: object, subject: str) -> tuple[Any, ...]:
        with self._connection() as connection:
            call = new_method_call(_EXPORTS, method, signature, arguments)
            reply = connection.send_and_get_reply(call, timeout=_SECONDS)
        if reply.header.message_type is not MessageType.error:
            body: tuple[Any, ...] = reply.body
            return body
        error = DBusErrorResponse(reply)
        if error.name in _SILENT:
            raise Unavailable(f"NFS-Ganesha is not on its bus ({self._address}): start it")
        words = " ".join(str(part) for part in reply.body) or error.name
        raise StepFailed(f"NFS-Ganesha refused {method} of {subject}: {words}")

    @contextmanager
    def _connection(self) -> Iterator[DBusConnection]:
        try:
            connection = open_dbus_connection(self._address)
        except (OSError, AuthenticationError) as error:
            raise Unavailable(f"the bus {self._address} of NFS-Ganesha does not answer ({error}): start it") from error
        try:
            yield connection
        except (OSError, EOFError, TimeoutError) as error:
            raise Unavailable(f"NFS-Ganesha does not answer on its bus ({self._address}): {error!r}") from error
        finally:
            connection.close()
