"""The share drivers that are installed, found by the entry points `isthmus.shares.drivers`."""

import logging
from collections.abc import Mapping
from functools import cache

from stevedore import ExtensionManager
from stevedore.extension import Extension

from isthmus.control.errors import InvalidInput
from isthmus.shares.drivers.contract import ShareDriver

NAMESPACE = "isthmus.shares.drivers"

log = logging.getLogger(__name__)


def driver_class(name: str) -> type[ShareDriver]:
    """Return the driver of this name; `InvalidInput` names those that exist."""
    found = _installed().get(name)
    if found is None:
        existing = ", ".join(_installed()) or "none"
        raise InvalidInput(f"there is no share driver {name!r}; installed are: {existing}")
    return found


@cache
def _installed() -> Mapping[str, type[ShareDriver]]:
    extensions: list[Extension] = list(
        ExtensionManager(NAMESPACE, invoke_on_load=False, on_load_failure_callback=_say_broken)
    )
    return {each.name: each.plugin for each in sorted(extensions, key=lambda each: str(each.name))}


def _say_broken(manager: ExtensionManager, entry_point: object, error: BaseException) -> None:
    # One broken plug-in must not take the others away; who asks for it learns that it is not installed.
    del manager
    log.error("share driver %s cannot be loaded and is left out", entry_point, exc_info=error)
