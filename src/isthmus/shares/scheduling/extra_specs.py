"""Extra specs of a share type against capabilities of a pool.

Source: Manila's "Capabilities and extra specs" and its scheduler: a spec with another scope than `capabilities:` is a
driver's own business, `availability_zones` and `default_qos_type` are looked at elsewhere. Case does not matter.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

BOOLEAN = (
    "driver_handles_share_servers",
    "snapshot_support",
    "create_share_from_snapshot_support",
    "revert_to_snapshot_support",
    "mount_snapshot_support",
    "mount_point_name_support",
    "snapshot_inherit_share_access_support",
)
"""Specs whose plain value `True` means `<is> True`."""
NOT_COMPARED = frozenset({"availability_zones", "capabilities:availability_zones", "default_qos_type"})
TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


def truth(value: object) -> bool:
    """Return what a capability or spec says as yes or no; what is neither is no."""
    return value if isinstance(value, bool) else str(value).strip().lower() in TRUE


def spec_truth(value: str | None, default: bool) -> bool:
    """Return a boolean spec's value, given plainly or after `<is>`."""
    return default if value is None else truth(value.strip().removeprefix("<is>"))


def compared(specs: Mapping[str, str], protocol: str | None, *, any_backend: bool = False) -> dict[str, str]:
    """Return the specs to compare with pools for a share of this protocol.

    `any_backend` drops the back end's name: a copy of a share may lie elsewhere than the share.
    """
    found = {
        key: f"<is> {value}" if key in BOOLEAN and not value.startswith("<is>") else value
        for key, value in specs.items()
        if not (any_backend and key == "share_backend_name")
    }
    if protocol is not None:
        # A pool may serve several protocols under one name, as NFS_CIFS.
        found.setdefault("storage_protocol", f"<in> {protocol}")
    return found


def satisfied(capabilities: Mapping[str, Any], specs: Mapping[str, str]) -> bool:
    """Say whether a pool has all that the specs ask for."""
    return all(_has(capabilities, key, wanted) for key, wanted in specs.items() if key not in NOT_COMPARED)


def _has(capabilities: Mapping[str, Any], key: str, wanted: str) -> bool:
    scope = key.split(":")
    if scope[0] == "capabilities":
        del scope[0]
    elif len(scope) > 1:
        return True
    found: Any = capabilities
    for name in scope:
        found = found.get(name) if isinstance(found, Mapping) else None
        if found is None:
            return False
    return any(matches(each, wanted) for each in (found if isinstance(found, list) else [found]))


def matches(value: object, wanted: str) -> bool:
    """Say whether one capability's value is what a spec asks for, as `5`, `>= 5`, `<is> True`, `<or> a <or> b`."""
    words = wanted.lower().split()
    value = value.lower() if isinstance(value, str) else value
    if words[:1] == ["<or>"]:
        return any(word == str(value).lower() for word in words if word != "<or>")
    compare = _OPERATORS.get(words[0]) if words else None
    if compare is None:
        return _equal(value, wanted.lower())
    try:
        return len(words) > 1 and compare(value, words[1])
    except (TypeError, ValueError):
        # Words where numbers should be: they do not match.
        return False


def _equal(value: object, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted.strip() in (TRUE if value else FALSE)
    return str(value) == wanted


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[Any, str], bool]:
    return lambda value, wanted: compare(float(value), float(wanted))


_OPERATORS: Mapping[str, Callable[[Any, str], bool]] = {
    # A single = asks for at least so much: Manila's legacy.
    "=": _numbers(operator.ge),
    "==": _numbers(operator.eq),
    "!=": _numbers(operator.ne),
    ">=": _numbers(operator.ge),
    "<=": _numbers(operator.le),
    "<in>": lambda value, wanted: wanted in value,
    "<is>": lambda value, wanted: truth(value) is truth(wanted),
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
}
