"""A virtual machine on a tenant network: its tap is put on a port by the agent of its host, through `isthmus port`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.control_plane import ISTHMUS
from lab.network_guest import NetworkGuest
from lab.network_host import NetworkHost, wait_for

_ADDRESS_SECONDS = 120.0
_DHCP = "udhcpc -q -n -t 3 -i eth0 -s /dhcp"


@contextmanager
def tenant_machine(
    host: NetworkHost, directory: Path, *, network: str, agent: Path, tap: str, options: tuple[str, ...] = ()
) -> Iterator[tuple[NetworkGuest, str]]:
    """Give a machine with the address that DHCP gave it; `options` are further ones of `isthmus port attach`.

    Machine, port and tap are gone at the end.
    """
    socket = ("--socket", str(agent))
    host.run("ip", "tuntap", "add", tap, "mode", "tap")
    try:
        told = host.run(ISTHMUS, "port", "attach", network, "--tap", tap, *options, "-f", "json", *socket)
        try:
            with NetworkGuest(host, directory, tap=tap, mac=json.loads(told)["port"]["mac"]) as guest:
                wait_for("the machine has an address", lambda: guest.succeeds(_DHCP), _ADDRESS_SECONDS)
                words = guest.run("ip -4 addr show eth0").split()
                yield guest, words[words.index("inet") + 1].partition("/")[0]
        finally:
            host.run(ISTHMUS, "port", "detach", "--tap", tap, *socket)
    finally:
        host.run("ip", "link", "del", tap)
