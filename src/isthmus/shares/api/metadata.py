"""Metadata of any object that carries it: read, merge, replace, and single keys; the object's resource says who may.

Source: Manila's API reference, "metadata"; keys have 1 to 255 characters, values 1 to 1,023, both are text. Some keys
are for administrators alone: others may neither set nor remove them, and keep them when they replace the rest.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import InvalidInput, NotAllowed, NotFound
from isthmus.shares.api.call import Call
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import OLDEST, Version
from isthmus.shares.store import metadata as store

LONGEST_KEY = 255
LONGEST_VALUE = 1023


class Touch(Enum):
    """What a call does with metadata."""

    READ = auto()
    CHANGE = auto()
    REMOVE = auto()


def _no_keys(conf: ConfigOpts) -> Collection[str]:
    del conf
    return ()


def _nothing(call: Call, object_id: str, items: Mapping[str, str]) -> None:
    del call, object_id, items


@dataclass(frozen=True)
class Carrier:
    """One kind of object with metadata.

    `find` checks the policy and returns the object's id, or raises `NotFound`; it gets the path's variables.
    `admin_keys` gives the keys for administrators alone, that is for those whom the policy `admin_rule` permits.
    `shows_all` says that a merge answers with all metadata, not only with what was sent (as Manila's shares do).
    `changed` is called with what was set, in the same transaction.
    """

    find: Callable[[Call, Mapping[str, str], Touch], str]
    admin_keys: Callable[[ConfigOpts], Collection[str]] = _no_keys
    admin_rule: str = ""
    shows_all: bool = False
    changed: Callable[[Call, str, Mapping[str, str]], None] = _nothing


def metadata_routes(path: str, carrier: Carrier, *, since: Version = OLDEST) -> tuple[Route, ...]:
    """Return the routes of the metadata at `path` (as `/shares/{share_id}/metadata`)."""
    found = _Metadata(carrier)
    item = f"{path}/{{key}}"
    return (
        Route("GET", path, found.index, since),
        Route("POST", path, found.merge, since),
        Route("PUT", path, found.replace, since),
        Route("GET", item, found.show, since),
        Route("POST", item, found.set_one, since),
        Route("DELETE", item, found.remove, since),
    )


class _Metadata:
    """The handlers for one kind of object."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    def index(self, call: Call, **variables: str) -> dict[str, Any]:
        """Show all."""
        object_id = self._carrier.find(call, variables, Touch.READ)
        return {"metadata": store.read(call.session, object_id)}

    def merge(self, call: Call, **variables: str) -> dict[str, Any]:
        """Set what is sent; keep the rest."""
        items = checked(call.entity("metadata"))
        object_id = self._carrier.find(call, variables, Touch.CHANGE)
        self._refuse_admin_keys(call, items)
        self._write(call, object_id, items)
        return {"metadata": store.read(call.session, object_id) if self._carrier.shows_all else items}

    def replace(self, call: Call, **variables: str) -> dict[str, Any]:
        """Have what is sent and nothing else, but for what only administrators change."""
        items = checked(call.entity("metadata"))
        object_id = self._carrier.find(call, variables, Touch.CHANGE)
        self._refuse_admin_keys(call, items)
        known = store.read(call.session, object_id)
        admin_keys = set(self._carrier.admin_keys(call.conf))
        if not admin_keys & items.keys():
            items |= {key: value for key, value in known.items() if key in admin_keys}
        store.drop(call.session, object_id, known.keys() - items.keys())
        self._write(call, object_id, items)
        return {"metadata": items}

    def show(self, call: Call, key: str, **variables: str) -> dict[str, Any]:
        """Show one key."""
        object_id = self._carrier.find(call, variables, Touch.READ)
        found = store.read(call.session, object_id)
        if key not in found:
            raise NotFound("Metadata item is not found.")
        return {"meta": {key: found[key]}}

    def set_one(self, call: Call, key: str, **variables: str) -> dict[str, Any]:
        """Set the key that both the path and the body name."""
        items = checked(call.entity("meta" if "meta" in call.body() else "metadata"))
        if key not in items:
            raise InvalidInput("Request body and URI mismatch")
        if len(items) > 1:
            raise InvalidInput("Request body contains too many items")
        object_id = self._carrier.find(call, variables, Touch.CHANGE)
        self._refuse_admin_keys(call, items)
        self._write(call, object_id, items)
        return {"metadata": items}

    def remove(self, call: Call, key: str, **variables: str) -> None:
        """Remove one key."""
        object_id = self._carrier.find(call, variables, Touch.REMOVE)
        if key in self._carrier.admin_keys(call.conf):
            call.allow(self._carrier.admin_rule)
        if not store.drop(call.session, object_id, [key]):
            raise NotFound("Metadata item is not found.")

    def _write(self, call: Call, object_id: str, items: Mapping[str, str]) -> None:
        store.write(call.session, object_id, items)
        self._carrier.changed(call, object_id, items)

    def _refuse_admin_keys(self, call: Call, items: Mapping[str, str]) -> None:
        wanted = sorted(set(self._carrier.admin_keys(call.conf)) & items.keys())
        if wanted and not call.may(self._carrier.admin_rule):
            raise NotAllowed(f"Cannot set or update admin only metadata: {', '.join(wanted)}")


def checked(items: object) -> dict[str, str]:
    """Return metadata from a body; `InvalidInput` names the key that is wrong. None is none."""
    if items is None:
        return {}
    if not isinstance(items, dict):
        raise InvalidInput("Malformed request body: metadata must be an object of keys and text values")
    for key, value in items.items():
        if not key:
            raise InvalidInput("Metadata property key is blank.")
        if len(key) > LONGEST_KEY:
            raise InvalidInput(f"Metadata property key is greater than {LONGEST_KEY} characters.")
        if not isinstance(value, str):
            raise InvalidInput(f"Malformed request body: the metadata value of {key} must be text")
        if not value:
            raise InvalidInput(f"Metadata property value is blank: {key}")
        if len(value) > LONGEST_VALUE:
            raise InvalidInput(f"Metadata property value is greater than {LONGEST_VALUE} characters: {key}")
    return dict(items)
