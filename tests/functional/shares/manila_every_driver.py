"""Import every module of Manila's drivers and make every driver without options; print what came of it as JSON.

A program of its own: vendors' modules register options for the whole process, and hundreds of modules take memory.
"""

import importlib
import inspect
import json
import pkgutil
import sys
import tempfile
import warnings
from pathlib import Path

from isthmus.shares.drivers.manila import library
from isthmus.shares.drivers.private_data import PrivateDataFile

PACKAGE = "manila.share.drivers"


def main() -> None:
    """Print `{"modules": number, "drivers": {path: None or why it could not be made}}`."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as directory:
        store = PrivateDataFile(Path(directory) / "private")
        library.new_driver("first", {"share_driver": f"{PACKAGE}.hdfs.hdfs_native.HDFSNativeShareDriver"}, store)
        modules, drivers = _found()
        made = {path: _made(f"backend{at}", path, store) for at, path in enumerate(sorted(drivers))}
    json.dump({"modules": modules, "drivers": made}, sys.stdout)


def _found() -> tuple[int, set[str]]:
    base = importlib.import_module("manila.share.driver").ShareDriver
    root = importlib.import_module(PACKAGE)
    names = [found.name for found in pkgutil.walk_packages(root.__path__, f"{PACKAGE}.")]
    drivers = set()
    for name in names:
        for _, each in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            if each.__module__ == name and issubclass(each, base) and not each.__name__.endswith("Base"):
                drivers.add(f"{name}.{each.__name__}")
    return len(names), drivers


def _made(backend: str, path: str, store: PrivateDataFile) -> str | None:
    try:
        library.new_driver(backend, {"share_driver": path}, store)
    except Exception as error:  # noqa: BLE001 - whatever a vendor's driver raises is what is to be told
        return str(error) or type(error).__name__
    return None


if __name__ == "__main__":
    main()
