"""What stands where Manila's drivers would reach Manila's database (`manila.db.api.IMPL`) and its message bus."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

from isthmus.control.errors import NotSupported
from isthmus.shares.drivers.manila.rows import Row

REMEMBERED_SHARES = 1000
"""More than the calls that run at once: a driver asks for the share of its call."""


class NoDatabase:
    """Refuses everything but share types and shares' metadata that were told to it, which drivers ask for by id.

    The driver of NetApp that makes share servers also reads security services; it is refused with its mode.
    """

    def __init__(self) -> None:
        self._types: dict[str, dict[str, str]] = {}
        self._metadata: OrderedDict[str, dict[str, str]] = OrderedDict()
        self._lock = Lock()

    def remember(self, row: Row) -> None:
        """Keep the extra specs of a share instance's type and its metadata, in place of earlier ones."""
        self._types[row["share_type_id"]] = dict(row["share_type"]["extra_specs"])
        with self._lock:
            self._metadata[row["share_id"]] = dict(row["metadata"])
            self._metadata.move_to_end(row["share_id"])
            if len(self._metadata) > REMEMBERED_SHARES:
                self._metadata.popitem(last=False)

    def share_type_get(
        self, context: object, type_id: str, inactive: bool = False, expected_fields: object = None
    ) -> Row:
        """Return the share type of this id; one that was never told of has no extra specs."""
        del context, inactive, expected_fields
        specs = dict(self._types.get(type_id, {}))
        return Row(id=type_id, name=type_id, is_public=True, extra_specs=specs, required_extra_specs={})

    def share_metadata_get(self, context: object, share_id: str) -> dict[str, str]:
        """Return the metadata of a share (not of an instance)."""
        del context
        with self._lock:
            return dict(self._metadata.get(share_id, {}))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _refusing(f"reads or writes Manila's database ({name})")


class NoBus:
    """A client of other services of Manila's, made by drivers that then do not use it."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _refusing(f"calls another service of Manila's ({name})")


def _refusing(what: str) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> Any:
        raise NotSupported(f"this driver {what}, and Isthmus has none: it needs Manila itself")

    return refuse
