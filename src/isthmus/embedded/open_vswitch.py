"""Open vSwitch: the switch of this machine, private to one control plane, in the caller's network namespace.

The kernel's datapath is used where the kernel has the module; else the userspace one, in the process itself, which
makes them of taps. Its segmentation offload is turned on there: without it, what a container sends with an
unfinished checksum, as every veth does, is dropped.
"""

import json
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil

from isthmus.control.errors import Conflict
from isthmus.embedded import ovsdb
from isthmus.embedded.layout import Layout, write_private
from isthmus.embedded.ovsdb_wire import ask
from isthmus.embedded.part import Check, NotReady, Part, Preparation, Site

PART = "vswitchd"
KERNEL, USERSPACE = "system", "netdev"
INTEGRATION_BRIDGE = "br-int"
_KERNEL_MODULE = Path("/sys/module/openvswitch")
_DATAPATH_INTERFACES = ("ovs-system", "ovs-netdev", INTEGRATION_BRIDGE)


def datapath() -> str:
    """Return which datapath this kernel allows; loads the module if it is there and may be loaded."""
    if not _KERNEL_MODULE.exists():
        subprocess.run(["modprobe", "--quiet", "openvswitch"], check=False, capture_output=True)
    return KERNEL if _KERNEL_MODULE.exists() else USERSPACE


def check_free(layout: Layout) -> None:
    """Raise Conflict if another Open vSwitch works in this network namespace. Nothing of ours may run."""
    if is_ours(layout):
        release(layout)
    present = [name for name in _DATAPATH_INTERFACES if name in psutil.net_if_stats()]
    if present:
        raise Conflict(
            f"the interface {', '.join(present)} exists: another Open vSwitch works in this network namespace. Stop "
            "it, run `isthmus up` in another namespace (ip netns), or leave out `--with network`. Nothing was started."
        )


def is_ours(layout: Layout) -> bool:
    """Say whether this control plane's switch, dead or alive, is in this network namespace."""
    mark = _mark(layout)
    return mark.exists() and mark.read_text() == _here()


def release(layout: Layout) -> None:
    """Remove the interfaces that our switch left in this network namespace. None there: returns.

    Neither datapath's vanish with the process: the kernel's is the kernel's, and the userspace one makes its taps
    persistent, so that a restart of the switch does not take a bridge's addresses away. Nothing of ours may run.
    """
    present = psutil.net_if_stats()
    if "ovs-system" in present:
        subprocess.run(["/usr/bin/ovs-dpctl", "del-dp", "system@ovs-system"], check=False, capture_output=True)
    for name in {"ovs-netdev", *_internal_interfaces(layout)} & present.keys():
        subprocess.run(["ip", "tuntap", "del", "mode", "tap", "dev", name], check=False, capture_output=True)
    _mark(layout).unlink()


def _internal_interfaces(layout: Layout) -> list[str]:
    """Return the names of the switch's own interfaces, from its database's file: its server has ended."""
    select = {"op": "select", "table": "Interface", "where": [["type", "==", "internal"]], "columns": ["name"]}
    file = ovsdb.file(layout, ovsdb.SWITCH)
    said = subprocess.run(
        ["/usr/bin/ovsdb-tool", "query", str(file), json.dumps(["Open_vSwitch", select])],
        capture_output=True,
        check=False,
    )
    return [row["name"] for row in json.loads(said.stdout)[0]["rows"]] if said.returncode == 0 else []


def remember(layout: Layout) -> None:
    """Say that a datapath in this network namespace is ours, before it is."""
    write_private(_mark(layout), _here())


def part(site: Site) -> Part:
    """Return the switch as a part; its preparation tells it who it is, for OVN."""
    database = ovsdb.connection(site, ovsdb.SWITCH)
    facts = _facts(site)
    return Part(
        name=PART,
        command=(
            "/usr/sbin/ovs-vswitchd",
            database,
            f"--unixctl={ovsdb.control(site, PART)}",
            *ovsdb.quiet_log(),
        ),
        environment=ovsdb.environment(site),
        check=_switch_works(site),
        address=f"{facts['external-ids:ovn-bridge-datapath-type']} datapath",
        depends_on=(ovsdb.SWITCH,),
        preparation=Preparation(
            command=(
                "/usr/bin/ovs-vsctl", f"--db={database}", "--no-wait", "--timeout=20",
                "init", "--", "set", "Open_vSwitch", ".", *(f"{name}={value}" for name, value in facts.items()),
            ),
            environment=ovsdb.environment(site),
            stamp=site.layout.stamp("network/vswitchd"),
            stamp_text=repr(facts),
        ),
    )  # fmt: skip


def _facts(site: Site) -> Mapping[str, str]:
    kind = datapath()
    offload = {} if kind == KERNEL else {"other_config:userspace-tso-enable": "true"}
    return {
        "external-ids:system-id": f"isthmus-{socket.gethostname()}",
        "external-ids:hostname": socket.gethostname(),
        "external-ids:ovn-remote": ovsdb.connection(site, ovsdb.SOUTHBOUND),
        "external-ids:ovn-encap-type": "geneve",
        # One machine, so no tunnels: packets never leave it.
        "external-ids:ovn-encap-ip": "127.0.0.1",
        "external-ids:ovn-bridge": INTEGRATION_BRIDGE,
        "external-ids:ovn-bridge-datapath-type": kind,
        # A bridge of this name, if somebody makes one, is where the provider network `external` leaves the machine.
        "external-ids:ovn-bridge-mappings": "external:br-ex",
        # Neutron puts routers' gateways, and so floating IPs, on no other host.
        "external-ids:ovn-cms-options": "enable-chassis-as-gw",
        **offload,
    }


def _switch_works(site: Site) -> Check:
    def check() -> None:
        ask(ovsdb.control(site, PART), "version")
        (row,) = ovsdb.rows(site, ovsdb.SWITCH, "Open_vSwitch", "Open_vSwitch", ["datapath_types"])
        if row["datapath_types"] == ["set", []]:
            raise NotReady("the switch has not read its configuration yet")

    return check


def _mark(layout: Layout) -> Path:
    return layout.of("network") / "datapath"


def _here() -> str:
    return f"netns {os.stat('/proc/self/ns/net').st_ino}"
