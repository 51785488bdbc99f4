"""What a host has attached, asked of all who know: the agent's store, Neutron, the kernel and Open vSwitch.

    truth = look(playground.host, playground.state_dir, neutron)
    assert truth.disagreements() == []

The four must name the same ports: a port that only Neutron knows is leaked (with its addresses), an interface or a row
of OVSDB without a record is leaked, a record without a port is lost.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.network_host import NetworkHost

ID_LENGTH = 11
"""How much of a port's id the name of its interface holds."""
FAR, NEAR = "tap", "t_c"


@dataclass(frozen=True)
class Truth:
    """Ids of ports, by who knows them. `spare` are warm or doomed ones, `attached` the others of the agent's store."""

    attached: frozenset[str]
    spare: frozenset[str]
    neutron: frozenset[str]
    links: tuple[str, ...]
    rows: tuple[str, ...]
    states: tuple[str, ...]

    def disagreements(self) -> list[str]:
        """Return what one knows and another does not, and what is known twice, a sentence each."""
        recorded = self.attached | self.spare
        short = {port[:ID_LENGTH] for port in recorded}
        found = [f"port {port} is in Neutron and not in the agent's store" for port in self.neutron - recorded]
        found += [f"attached port {port} is not in Neutron" for port in self.attached - self.neutron]
        found += [f"interface {name} is no recorded port's" for name in self.links if name[len(FAR) :] not in short]
        found += [f"OVSDB has port {port}, which is not recorded" for port in self.rows if port not in recorded]
        plugged = {port[:ID_LENGTH] for port in self.attached}
        links = {name[len(FAR) :] for name in self.links}
        found += [f"attached port {port}… has no interface" for port in plugged - links]
        found += [f"attached port {port} is not in OVSDB" for port in self.attached - set(self.rows)]
        twice = [each for each, count in Counter((*self.links, *self.rows)).items() if count > 1]
        found += [f"{each} is there twice" for each in twice]
        found += [f"an attachment is {state}" for state in self.states if state != "plugged"]
        return found

    @property
    def stale(self) -> frozenset[str]:
        """Spare ports that somebody deleted in Neutron; the agent learns of it at its next comparison."""
        return self.spare - self.neutron

    @property
    def counts(self) -> dict[str, int]:
        """How many each knows."""
        return {
            "attached": len(self.attached),
            "spare": len(self.spare),
            "neutron": len(self.neutron),
            "interfaces": len(self.links),
            "ovsdb": len(self.rows),
        }


def look(host: NetworkHost, state_dir: Path, neutron: Any) -> Truth:
    """Ask all. `neutron` is the network proxy of an administrator's openstacksdk connection."""
    chassis = ovsdb(host, state_dir, "get", "Open_vSwitch", ".", "external_ids:hostname").strip().strip('"')
    store = sqlite3.connect(f"file:{state_dir}/isthmus/network-agent.sqlite?mode=ro", uri=True, timeout=30)
    try:
        attachments = store.execute("SELECT port_id, state FROM attachments").fetchall()
        spare = store.execute("SELECT port_id FROM spare_ports").fetchall()
    finally:
        store.close()
    links = json.loads(host.run("ip", "-json", "link"))
    table = json.loads(ovsdb(host, state_dir, "--format=json", "--columns=external_ids", "list", "Interface"))
    ids = [dict(row[0][1]).get("iface-id") for row in table["data"]]
    return Truth(
        attached=frozenset(port for port, _ in attachments if port),
        spare=frozenset(port for (port,) in spare),
        neutron=frozenset(port.id for port in neutron.ports() if port.binding_host_id == chassis),
        links=tuple(each["ifname"] for each in links if each["ifname"].startswith((FAR, NEAR))),
        rows=tuple(each for each in ids if each),
        states=tuple(state for _, state in attachments),
    )


def until_quiet(ask: Callable[[], Truth], limit: float = 180) -> None:
    """Wait until nothing is attached and all agree; AssertionError tells what is left."""
    deadline = time.monotonic() + limit
    while True:
        truth = ask()
        left = [*(f"port {port} is attached" for port in truth.attached), *truth.disagreements()]
        if not left:
            return
        if time.monotonic() > deadline:
            raise AssertionError("; ".join(left))
        time.sleep(0.3)


def ovsdb(host: NetworkHost, state_dir: Path, *words: str) -> str:
    """Run `ovs-vsctl` on the control plane's switch and return its output."""
    return host.run("ovs-vsctl", f"--db=unix:{state_dir}/run/ovs/ovsdb.sock", "--timeout=30", *words)
