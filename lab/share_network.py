"""A network of file-share clients: each has an address of its own, and all reach this machine at one address.

    with ClientNetwork() as network:
        first = network.client()
        first.run("smbclient", "-L", network.server_address)

One network namespace holds a bridge, and each client another one that is tied to it; a third cable leads out to this
machine. Every namespace lives as long as a process that reads a pipe of ours: when we end, however that is, the
kernel takes all of it away.
"""

import contextlib
import ipaddress
import json
import random
import subprocess
import time
import uuid
from types import TracebackType
from typing import Self

FIRST_CLIENT = 11
START_SECONDS = 10


class Namespace:
    """A network and PID namespace of its own; what was started in it is killed with it.

    With `mounts` it has mounts of its own too. (A copy of the machine's mounts keeps those alive: not for clients.) If
    it `follows`, what the machine mounts later below shared mounts is mounted in here, too.
    """

    def __init__(self, *, mounts: bool = False, follows: bool = False) -> None:
        self._kinds = ["--net", "--pid", *(["--mount"] if mounts else [])]
        spread = ["--propagation", "slave"] if follows else []
        self._holder = subprocess.Popen(
            ["unshare", *self._kinds, *spread, "--fork", "--kill-child=KILL", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        self.pid = self._wait_for_first_process()

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a command in here."""
        return ["nsenter", "--target", str(self.pid), *self._kinds, *command]

    def run(self, *command: str, limit: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command in here and return how it ended, well or not."""
        return subprocess.run(
            self.command(*command),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit,
            check=False,
        )

    def ip(self, *words: str) -> None:
        """Run `ip` in here; RuntimeError if it fails."""
        _checked(*self.command("ip", *words))

    def close(self) -> None:
        """Kill all that runs in here; with it goes the namespace."""
        self._holder.kill()
        self._holder.communicate()

    def _wait_for_first_process(self) -> int:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with open(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children", encoding="ascii") as children:
                if found := children.read().split():
                    return int(found[0])
            if self._holder.poll() is not None:
                break
            time.sleep(0.01)
        self.close()
        raise RuntimeError("no network namespace could be made; this needs root")


class Client(Namespace):
    """One client: a place to run programs in, seen by a server as `address` (or `address6`)."""

    def __init__(self, address: str, address6: str, *, mounts: bool = False) -> None:
        super().__init__(mounts=mounts)
        self.address = address
        self.address6 = address6


class ClientNetwork:
    """The network; a context manager. `server_address` and `server_address6` are this machine's in it."""

    def __init__(self) -> None:
        self.network = _free_network()
        self.server_address = str(self.network[1])
        self.network6 = ipaddress.IPv6Network(f"fd00:{random.randrange(1 << 16):x}:{random.randrange(1 << 16):x}::/64")
        self.server_address6 = f"{self.network6.network_address}1"
        self._taken = 0
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self.switch = Namespace()
            stack.callback(self.switch.close)
            self.switch.ip("link", "add", "switch", "type", "bridge", "forward_delay", "0")
            self.switch.ip("link", "set", "switch", "up")
            cable = f"shc{uuid.uuid4().hex[:8]}"
            self._plug(cable, None)
            _checked("ip", "address", "add", f"{self.server_address}/{self.network.prefixlen}", "dev", cable)
            _checked("ip", "address", "add", f"{self.server_address6}/64", "dev", cable, "nodad")
            _checked("ip", "link", "set", cable, "up")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, *, mounts: bool = False) -> Client:
        """Make a client with the next address. It ends with the network, or when it is closed."""
        host = self.take_addresses(1)
        client = Client(str(self.network[host]), self.address6(host), mounts=mounts)
        self._stack.callback(client.close)
        self._plug("eth0", client)
        client.ip("link", "set", "lo", "up")
        client.ip("address", "add", f"{client.address}/{self.network.prefixlen}", "dev", "eth0")
        client.ip("address", "add", f"{client.address6}/64", "dev", "eth0", "nodad")
        client.ip("link", "set", "eth0", "up")
        return client

    def make_tap(self, name: str) -> None:
        """Make a network interface for a guest, tied to the switch; it lies in the switch's namespace."""
        self.switch.ip("tuntap", "add", name, "mode", "tap")
        self.switch.ip("link", "set", name, "master", "switch", "up")

    def take_addresses(self, count: int) -> int:
        """Return the first of `count` host numbers that nobody else gets."""
        first = FIRST_CLIENT + self._taken
        self._taken += count
        return first

    def address6(self, host: int) -> str:
        """Return the IPv6 address of a host number."""
        return f"{self.network6.network_address}{host:x}"

    def _plug(self, name: str, client: Client | None) -> None:
        """Lead a cable from the switch to a client, or (None) to this machine, where it is named `name`."""
        here = f"port{uuid.uuid4().hex[:8]}"
        there = ["netns", str(client.pid)] if client else []
        _checked("ip", "link", "add", here, "type", "veth", "peer", "name", name, *there)
        _checked("ip", "link", "set", here, "netns", str(self.switch.pid))
        self.switch.ip("link", "set", here, "master", "switch", "up")


def _free_network() -> ipaddress.IPv4Network:
    """Return a random /24 of 10.64.0.0/10 that this machine has no address in."""
    shown = json.loads(_checked("ip", "-json", "-4", "address"))
    taken = [ipaddress.ip_address(entry["local"]) for link in shown for entry in link["addr_info"]]
    while True:
        network = ipaddress.IPv4Network((0x0A400000 + (random.randrange(1 << 14) << 8), 24))
        if not any(address in network for address in taken):
            return network


def _checked(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed ({done.returncode}): {done.stderr[-500:]}")
    return done.stdout
