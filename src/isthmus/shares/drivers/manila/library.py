"""Manila's package as a library in this process: its ground is laid once, then drivers are made.

What a driver finds outside itself, and what stands there here:
    oslo.config section      `sections`
    private storage          `private_storage`, over the store that the share manager hands in
    database, message bus    refused (`absent`), but for share types, which drivers ask for extra specs, and metadata
    request context          an administrator's, without a token
    privsep, rootwrap        root runs commands in this process; others need Manila's rootwrap as Manila does
    tooz coordination        locks in files below `state_path`
    eventlet                 imported by Manila's libraries and never patched into this process

Nothing of Manila is imported before the first driver is made.
"""

import importlib
import os
import threading
import warnings
from collections.abc import Mapping
from functools import cache
from types import ModuleType
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.control.sparing import without
from isthmus.shares.drivers.manila.absent import NoBus, NoDatabase
from isthmus.shares.drivers.manila.private_storage import PrivateStorage
from isthmus.shares.drivers.manila.rows import Row
from isthmus.shares.drivers.manila.sections import Sections
from isthmus.shares.drivers.private_data import PrivateData

# What libraries below Manila load where it is installed, to no use here.
_UNUSED = ("OpenSSL", "opentelemetry", "osprofiler")

_lock = threading.Lock()


def manila(name: str) -> ModuleType:
    """Return the module `manila.<name>`, imported now if it was not before."""
    return importlib.import_module(f"manila.{name}")


def new_driver(name: str, options: Mapping[str, str], store: PrivateData) -> Any:
    """Return the driver that `share_driver` names, made from these options and not set up yet.

    Raises `InvalidInput` if there is none; what its module and its class raise is passed on.
    """
    # Manila's import warns of eventlet, which its libraries still import.
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _ground().put(name, options)
        manila("coordination").LOCK_COORDINATOR.start()
        made = _driver_class(name, options.get("share_driver", ""))(
            private_storage=manila("share.drivers_private_data").DriverPrivateData(
                storage=PrivateStorage(store), config_group=name
            ),
            configuration=_configuration(name),
        )
        _refuse_green_threads(name)
        return made


def admin_context() -> Any:
    """Return the context of an administrator without a token."""
    return manila("context").get_admin_context()


def remember(row: Row) -> None:
    """Let drivers find what they ask Manila's database for about this share instance."""
    _database().remember(row)


@cache
def _ground() -> Sections:
    # It decides whether importing Manila's modules patches eventlet into the whole process.
    os.environ["OS_MANILA_DISABLE_EVENTLET_PATCHING"] = "1"
    # eventlet's own resolver is only for what it patched: 6 MiB.
    os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
    try:
        with without(*_UNUSED):
            # Manila's client of its own API, a bus client, which every driver's import would load: 20 MiB.
            manila("common.config").CONF.set_override("share_api_class", f"{NoBus.__module__}.{NoBus.__name__}")
            manila("share.driver")
            for part in ("rpc", "coordination", "share.drivers_private_data", "privsep"):
                manila(part)
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"Manila's drivers need Manila's package, and {error.name} is missing: install isthmus[manila-drivers]"
        ) from error
    for name, part, stand_in in (("db.api", "IMPL", _database()), ("rpc", "get_client", lambda *_, **__: NoBus())):
        setattr(manila(name), part, stand_in)
    if os.geteuid() == 0:
        manila("privsep").sys_admin_pctxt.set_client_mode(False)
    return Sections()


@cache
def _database() -> NoDatabase:
    return NoDatabase()


def _driver_class(name: str, path: str) -> Any:
    module, _, class_name = path.rpartition(".")
    if not module:
        raise InvalidInput(f"section [{name}]: share_driver is to be the path of a Manila driver's class, not {path!r}")
    try:
        return getattr(importlib.import_module(module), class_name)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"section [{name}]: share_driver {path} cannot be loaded: {error}") from error


def _configuration(name: str) -> Any:
    return manila("share.configuration").Configuration(manila("share.driver").share_opts, config_group=name)


def _refuse_green_threads(name: str) -> None:
    patcher = importlib.import_module("eventlet.patcher")
    if patcher.is_monkey_patched("thread"):
        raise InvalidInput(
            f"the driver of back end {name} patched eventlet into this process, which has threads; it cannot be used"
        )
