"""Which extra specs a share type may have, and which of them tenants see.

Source: Manila's "Capabilities and extra specs". `driver_handles_share_servers` must be there; some others have
values of their own kind; all the rest is free.
"""

import re
from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.queries import FALSE, TRUE

REQUIRED = "driver_handles_share_servers"
SNAPSHOT_SUPPORT = "snapshot_support"
ZONES = "availability_zones"
LONGEST = 255

INFERRED = (
    SNAPSHOT_SUPPORT,
    "create_share_from_snapshot_support",
    "revert_to_snapshot_support",
    "mount_snapshot_support",
)
"""Specs that tenants see as false where a type does not have them, from 2.24 on."""
INFERRED_LATER = "snapshot_inherit_share_access_support"
"""The same, from 2.99 on."""

_BOOLEAN = frozenset({*INFERRED, INFERRED_LATER, "mount_point_name_support"})
_WORDS: Mapping[str, frozenset[str]] = {
    "replication_type": frozenset({"writable", "readable", "dr"}),
    "encryption_support": frozenset({"share", "share_server"}),
}
_SIZES = frozenset({"provisioning:max_share_size", "provisioning:min_share_size", "provisioning:max_share_extend_size"})
_TEXTS = frozenset({"provisioning:mount_point_prefix", "default_qos_type"})
VISIBLE = frozenset({REQUIRED, ZONES, *_BOOLEAN, *_WORDS, *_SIZES, *_TEXTS})
"""Specs that tenants see."""

_IS = re.compile(r"<is>\s*(true|false)", re.IGNORECASE)
_KEY = re.compile(r"[\w.:-]+")


def checked_new(specs: object) -> dict[str, str]:
    """Return the specs of a new type as they are kept; `InvalidInput` names what is wrong."""
    if not isinstance(specs, dict):
        raise InvalidInput("Invalid extra_spec: extra_specs must be an object of keys and values.")
    if REQUIRED not in specs:
        raise InvalidInput(f"Invalid extra_spec: Required extra specs '{REQUIRED}' not specified.")
    if not is_truth(specs[REQUIRED]):
        raise InvalidInput(f"Invalid extra_spec: Value of required extra_spec {REQUIRED} is not valid.")
    kept = {key: _as_text(key, value) for key, value in specs.items()}
    for key, text in kept.items():
        if not key or len(key) > LONGEST or len(text) > LONGEST:
            raise InvalidInput(
                f"Invalid extra_spec: {key[:LONGEST]}: keys and values have at most {LONGEST} characters"
            )
        if not _fits(key, text):
            raise InvalidInput(
                f"Invalid share type: Invalid extra_spec: Value of optional extra_spec {key} is not valid."
            )
    return _tidy(kept)


def checked_changes(specs: Mapping[str, Any]) -> dict[str, str]:
    """Return changed specs as they are kept; `InvalidInput` names what is wrong."""
    for key, value in specs.items():
        is_text = isinstance(value, bool) or (isinstance(value, str) and 1 <= len(value) <= LONGEST)
        fits = is_text and 1 <= len(key) <= LONGEST and _fits(key, str(value))
        if not fits or (key == REQUIRED and not is_truth(value)):
            raise InvalidInput(f"Invalid extra_spec: {key}: {value}")
    return _tidy({key: str(value) for key, value in specs.items()})


def check_names(specs: Mapping[str, Any]) -> None:
    """Raise `InvalidInput` for keys with characters that keys may not have."""
    if not all(_KEY.fullmatch(key) for key in specs):
        raise InvalidInput(
            "Key names can only contain alphanumeric characters, underscores, periods, colons and hyphens."
        )


def is_truth(value: object) -> bool:
    """Say whether this can be read as true or false."""
    return str(value).strip().lower() in TRUE | FALSE


def _fits(key: str, text: str) -> bool:
    if key in _BOOLEAN:
        return is_truth(text) or _IS.fullmatch(text.strip()) is not None
    if key in _WORDS:
        return text in _WORDS[key]
    if key in _SIZES:
        return text.strip().isdecimal() and int(text) >= 1
    if key == ZONES:
        return all(zone.strip() for zone in text.split(","))
    return True


def _as_text(key: str, value: object) -> str:
    if isinstance(value, bool | int | float | str):
        return str(value)
    raise InvalidInput(f"Invalid extra_spec: {key}: its value must be text")


def _tidy(specs: dict[str, str]) -> dict[str, str]:
    if ZONES in specs:
        specs[ZONES] = ",".join(zone.strip() for zone in specs[ZONES].split(",") if zone)
    return specs
