"""A container runtime's side of CNI, without the runtime: the executable is run on a host as libcni runs it.

calls = CniCalls(playground.host, playground.state_dir, network="blue")
with calls.namespace("c1") as netns:
    result = calls.add("c1", netns)
    calls.check("c1", netns, result)
    calls.delete("c1", netns)
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lab.network_host import NetworkHost

EXECUTABLE = Path(sys.executable).with_name("isthmus-cni")
CALL_SECONDS = 330
LATER = 11
Json = dict[str, Any]


class CniRefused(Exception):
    """The executable printed an error of the specification."""

    def __init__(self, error: Json) -> None:
        super().__init__(f"{error.get('code')}: {error.get('msg')}: {error.get('details')}")
        self.number = int(error["code"])
        self.details = str(error.get("details", ""))
        self.error = error


def agent_socket(state_dir: Path) -> Path:
    """Return the socket of a control plane's network agent."""
    return state_dir / "isthmus" / "network-agent.sock"


class CniCalls:
    """Calls for one network of CNI, by default the Neutron network of the same name.

    For `patience` seconds an ADD that ends in "try again later" is followed by DEL and tried again, as runtimes do.
    """

    def __init__(
        self,
        host: NetworkHost,
        socket: Path,
        name: str,
        *,
        version: str = "1.1.0",
        patience: float = 0,
        **keys: Any,
    ) -> None:
        self._host = host
        self._patience = patience
        self.configuration: Json = {
            "cniVersion": version,
            "name": name,
            "type": "isthmus-cni",
            "agentSocket": str(socket),
            **keys,
        }

    @contextlib.contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """Make a network namespace for a container, as a runtime does; give its path."""
        self._host.run("ip", "netns", "add", name)
        try:
            yield f"/run/netns/{name}"
        finally:
            self._host.run("ip", "netns", "del", name, check=False)

    def add(self, container: str, netns: str, interface: str = "eth0", *, args: str = "", **keys: Any) -> Json:
        """Attach; return the result. `args` is CNI_ARGS, `keys` are added to the configuration."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self.call("ADD", container, netns, interface, args=args, **keys) or {}
            except CniRefused as error:
                if error.number != LATER or time.monotonic() > deadline:
                    raise
            self.delete(container, netns, interface)
            time.sleep(1)

    def delete(self, container: str, netns: str = "", interface: str = "eth0", **keys: Any) -> None:
        """Detach."""
        self.call("DEL", container, netns, interface, **keys)

    def check(self, container: str, netns: str, result: Json, interface: str = "eth0", **keys: Any) -> None:
        """Check; CniRefused if something is not as `result` says."""
        self.call("CHECK", container, netns, interface, prevResult=result, **keys)

    def collect_garbage(self, valid: Iterable[tuple[str, str]]) -> None:
        """Have all attachments of the network released but these (container, interface)."""
        kept = [{"containerID": container, "ifname": interface} for container, interface in valid]
        keys: Json = {"cni.dev/valid-attachments": kept}
        self.call("GC", **keys)

    def status(self) -> None:
        """Ask whether ADD would work; CniRefused if not."""
        self.call("STATUS")

    def call(
        self, command: str, container: str = "", netns: str = "", interface: str = "", *, args: str = "", **keys: Any
    ) -> Json | None:
        """Run the executable with a configuration."""
        stdin = json.dumps({**self.configuration, **keys})
        return self.raw(command, stdin, container=container, netns=netns, interface=interface, args=args)

    def raw(
        self,
        command: str,
        stdin: str,
        *,
        container: str = "",
        netns: str = "",
        interface: str = "",
        args: str = "",
        limit: float = CALL_SECONDS,
    ) -> Json | None:
        """Run the executable; return what it printed, None if nothing; CniRefused for an error."""
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_NETNS": netns,
            "CNI_IFNAME": interface,
            "CNI_ARGS": args,
            "CNI_PATH": str(EXECUTABLE.parent),
        }
        done = subprocess.run(
            self._host.command(str(EXECUTABLE)),
            input=stdin,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **{key: value for key, value in variables.items() if value}},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
        said: Json | None = json.loads(done.stdout) if done.stdout.strip() else None
        if done.returncode == 0:
            return said
        if said is None:
            raise RuntimeError(f"{EXECUTABLE.name} ended with {done.returncode}: {done.stderr}")
        raise CniRefused(said)
