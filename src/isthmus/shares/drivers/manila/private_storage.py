"""Manila's private storage of drivers, over a `PrivateData` (see `manila.share.drivers_private_data`)."""

from collections.abc import Sequence
from typing import Any

from isthmus.shares.drivers.private_data import PrivateData

OURS = "isthmus:"
"""Keys that begin so are the adapter's own, kept beside the driver's and out of its sight."""


class PrivateStorage:
    """What `DriverPrivateData` asks of a storage; the driver's values become text, as in Manila's database."""

    def __init__(self, store: PrivateData) -> None:
        self._store = store

    def get(self, entity_id: str, key: str | Sequence[str] | None, default: Any) -> Any:
        """Return the value of one key or `default`; of several keys or, without `key`, of all, a dict of what is there.

        Several keys have no default, as in Manila's database.
        """
        kept = self._own_of_driver(entity_id)
        if isinstance(key, str):
            return kept.get(key, default)
        return kept if key is None else {each: kept[each] for each in key if each in kept}

    def update(self, entity_id: str, details: dict[str, Any], delete_existing: bool) -> dict[str, Any]:
        """Add or replace keys; with `delete_existing` those not named are forgotten."""
        self._store.write(entity_id, {str(key): str(value) for key, value in details.items()})
        if delete_existing:
            self._store.remove(entity_id, self._own_of_driver(entity_id).keys() - details.keys())
        return details

    def delete(self, entity_id: str, key: str | Sequence[str] | None = None) -> None:
        """Forget one key, several or, without `key`, all."""
        if key is None:
            self._store.remove(entity_id, self._own_of_driver(entity_id).keys())
        else:
            self._store.remove(entity_id, [key] if isinstance(key, str) else key)

    def _own_of_driver(self, entity_id: str) -> dict[str, str]:
        return {key: value for key, value in self._store.read(entity_id).items() if not key.startswith(OURS)}
