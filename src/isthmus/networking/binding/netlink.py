"""pyroute2's netlink socket, without the rest of that library: there is an agent on each host, and memory counts.

`import pyroute2` brings in all that the library can do (databases, IPVS, wireless, 9p, DHCP): 4 MiB more than IPRoute
needs. So the package's own `__init__` is left out while IPRoute is imported; whoever imports pyroute2 later gets it
whole.
"""

import importlib.util
import sys
from types import ModuleType


def _import_iproute() -> None:
    if "pyroute2" in sys.modules:
        return
    found = importlib.util.find_spec("pyroute2")
    if found is None or found.submodule_search_locations is None:
        return  # the import below says it best
    package = ModuleType("pyroute2")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["pyroute2"] = package
    try:
        importlib.import_module("pyroute2.iproute")
    finally:
        del sys.modules["pyroute2"]


_import_iproute()
_iproute = sys.modules.get("pyroute2.iproute") or importlib.import_module("pyroute2.iproute")
_exceptions = sys.modules.get("pyroute2.netlink.exceptions") or importlib.import_module("pyroute2.netlink.exceptions")

IPRoute = _iproute.IPRoute
NetlinkError = _exceptions.NetlinkError

IFA_F_NODAD = 0x02
"""Of <linux/if_addr.h>: an address that is used at once, without detecting duplicates."""
