"""A second host of the playground: an OVN chassis with its own switch, tied to the first by a cable.

The two exchange tenants' packets in Geneve tunnels over that cable. Userspace tunnels (no kernel here has the switch's
module) want the tunnel's own address on a bridge of the switch, so the cable's ends are in one on each side. They drop
what the switch's segmentation offload leaves unfinished (Open vSwitch 3.1), so both switches do without: an interface
must then finish its checksums itself, which the agent's binder sees to, for what was plugged before, too.
"""

import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from isthmus.embedded.open_vswitch import INTEGRATION_BRIDGE, datapath
from lab.control_plane import ControlPlane
from lab.network_agents import start_agent
from lab.network_host import NetworkHost, wait_for
from lab.network_relay import LoopbackRelay

UNDERLAY = "br-underlay"
FIRST_ADDRESS, SECOND_ADDRESS = "10.99.0.1", "10.99.0.2"
CABLE = "cable0"
HOSTNAME = "second-host"
START_SECONDS = 60
_OFFLOAD = "other_config:userspace-tso-enable"
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_QUIET = ("-vconsole:info", "-vsyslog:off", "-vfile:off")


class Switch:
    """Somebody's Open vSwitch, by its database's socket."""

    def __init__(self, host: NetworkHost, socket: Path) -> None:
        self._host = host
        self.socket = socket

    @property
    def connection(self) -> str:
        """How clients name its database."""
        return f"unix:{self.socket}"

    def vsctl(self, *words: str) -> str:
        """Run `ovs-vsctl` and return its output, stripped."""
        return self._host.run("/usr/bin/ovs-vsctl", f"--db={self.connection}", "--timeout=20", *words).strip()

    def succeeds(self, *words: str) -> bool:
        """Run `ovs-vsctl` and say whether it ended well."""
        return self._host.succeeds("/usr/bin/ovs-vsctl", f"--db={self.connection}", "--timeout=20", *words)

    def tie(self, address: str) -> None:
        """Put this host's end of the cable into a bridge that has the tunnel's address, and have OVN use that."""
        kind = f"datapath_type={datapath()}"
        self.vsctl("--may-exist", "add-br", UNDERLAY, "--", "set", "Bridge", UNDERLAY, kind,
                   "--", "--may-exist", "add-port", UNDERLAY, CABLE)  # fmt: skip
        for words in (("addr", "replace", f"{address}/24", "dev", UNDERLAY), ("link", "set", UNDERLAY, "up"),
                      ("link", "set", CABLE, "up")):  # fmt: skip
            self._host.run("ip", *words)
        self.vsctl("set", "Open_vSwitch", ".", f"external-ids:ovn-encap-ip={address}")


class SecondHost:
    """The host, its switch and its controller; a context manager. `plane` runs on `first`, the other end.

    Its agent's own socket is `directory/agent/network-agent.sock`; for Docker make a `Docker(second.host, …)`.
    """

    def __init__(self, plane: ControlPlane, first: NetworkHost, directory: Path) -> None:
        self._plane = plane
        self._first = first
        self.directory = directory
        self._programs: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.directory.mkdir(exist_ok=True)
        with ExitStack() as undo:
            self.host = NetworkHost()
            undo.callback(self._collect)
            undo.callback(self.host.close)
            self.switch = Switch(self.host, self.directory / "ovsdb.sock")
            self._lay_cable()
            self._start_switch()
            ports = self._plane.ports
            undo.enter_context(
                LoopbackRelay(self.host, self._first, *(ports[name] for name in ("keystone", "barbican", "neutron")))
            )
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def spawn(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program of this host."""
        self._programs.append(self.host.spawn(*command, log=self.directory / f"{name}.log", env=environment))
        return self._programs[-1]

    def _collect(self) -> None:
        """Wait for all programs, which have ended with their host."""
        for program in self._programs:
            program.wait(START_SECONDS)

    def start_agent(self) -> subprocess.Popen[bytes]:
        """Start the network agent of this host, with the first's credentials; return when it is ready."""
        options = f"host = {HOSTNAME}\novsdb = {self.switch.connection}\n"
        return start_agent(self._plane, self.directory, self.spawn, options)

    def _lay_cable(self) -> None:
        self._first.run("ip", "link", "add", CABLE, "type", "veth", "peer", "name", "cable1")
        # A process outside has an id that `ip`, which runs in the first host's namespace, does not know.
        subprocess.run(
            ["nsenter", f"--net=/proc/{self._first.pid}/ns/net", "ip", "link", "set", "cable1", "netns",
             str(self.host.pid)], check=True,
        )  # fmt: skip
        self.host.run("ip", "link", "set", "cable1", "name", CABLE)

    def _start_switch(self) -> None:
        database, run = self.directory / "ovsdb.db", self.directory
        environment = {f"{family}_{room}DIR": str(run) for family in ("OVS", "OVN") for room in ("RUN", "DB", "LOG")}
        subprocess.run(["/usr/bin/ovsdb-tool", "create", str(database), _SCHEMA], check=True)
        self.spawn("ovsdb", "/usr/sbin/ovsdb-server", str(database), f"--remote=punix:{self.switch.socket}",
                   f"--unixctl={run}/ovsdb.ctl", *_QUIET, environment=environment)  # fmt: skip
        wait_for("the second host's database", lambda: self.switch.succeeds("--no-wait", "init"), START_SECONDS)
        southbound = self._plane.state_dir / "run" / "ovs" / "ovn-sb.sock"
        kind = datapath()
        facts = {
            "external-ids:system-id": HOSTNAME,
            "external-ids:hostname": HOSTNAME,
            "external-ids:ovn-remote": f"unix:{southbound}",
            "external-ids:ovn-encap-type": "geneve",
            "external-ids:ovn-encap-ip": SECOND_ADDRESS,
            "external-ids:ovn-bridge-datapath-type": kind,
            _OFFLOAD: "false",
        }
        self.switch.vsctl(
            "--no-wait", "set", "Open_vSwitch", ".", *(f"{name}={value}" for name, value in facts.items())
        )
        self.spawn("vswitchd", "/usr/sbin/ovs-vswitchd", self.switch.connection, f"--unixctl={run}/vswitchd.ctl",
                   *_QUIET, environment=environment)  # fmt: skip
        first = Switch(self._first, self._plane.state_dir / "run" / "ovs" / "ovsdb.sock")
        first.vsctl("set", "Open_vSwitch", ".", f"{_OFFLOAD}=false")
        # Read only as the switch starts.
        self._plane.kill("vswitchd")
        self._plane.wait_ready()
        first.tie(FIRST_ADDRESS)
        self.switch.tie(SECOND_ADDRESS)
        self.spawn(
            "ovn-controller", "/usr/bin/ovn-controller", self.switch.connection, *_QUIET, environment=environment
        )
        wait_for(
            "the second host's bridge", lambda: self.switch.succeeds("br-exists", INTEGRATION_BRIDGE), START_SECONDS
        )
