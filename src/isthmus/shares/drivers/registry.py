"""The share drivers that are installed, found by the entry points `isthmus.shares.drivers`.

Only the driver that is asked for is loaded: others may need libraries that are not installed, or much memory.
"""

from importlib.metadata import entry_points

from stevedore import DriverManager
from stevedore.exception import NoMatches

from isthmus.control.errors import InvalidInput, NotSupported
from isthmus.shares.drivers.contract import ShareDriver

NAMESPACE = "isthmus.shares.drivers"


def driver_class(name: str) -> type[ShareDriver]:
    """Return the driver of this name; `InvalidInput` names those that exist, `NotSupported` says what it lacks."""
    try:
        found: type[ShareDriver] = DriverManager(NAMESPACE, name, on_load_failure_callback=_say_broken).driver
    except NoMatches:
        existing = ", ".join(sorted(entry_points(group=NAMESPACE).names)) or "none"
        raise InvalidInput(f"there is no share driver {name!r}; installed are: {existing}") from None
    return found


def _say_broken(manager: DriverManager, entry_point: object, error: BaseException) -> None:
    del manager
    raise NotSupported(f"share driver {entry_point} cannot be loaded: {error}; install what it needs") from error
