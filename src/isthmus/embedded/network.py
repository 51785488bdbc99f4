"""The networks of one machine (`isthmus up --with network`): Open vSwitch, OVN, Neutron and Isthmus's agent."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from isthmus.control.errors import NotSupported
from isthmus.embedded import network_agent, neutron, open_vswitch, ovn, ovsdb
from isthmus.embedded.choices import Choice
from isthmus.embedded.keystone import NOTHING_ELSE, Directory
from isthmus.embedded.layout import Layout
from isthmus.embedded.part import Part, Site

CHOICE = Choice("network", "chosen")
PART_NAMES = (
    ovsdb.SWITCH,
    ovsdb.NORTHBOUND,
    ovsdb.SOUTHBOUND,
    open_vswitch.PART,
    ovn.NORTHD,
    ovn.CONTROLLER,
    neutron.PART,
    network_agent.PART,
)
PROGRAMS = {
    "/usr/sbin/ovs-vswitchd": "openvswitch-switch",
    "/usr/bin/ovn-northd": "ovn-central",
    "/usr/bin/ovn-controller": "ovn-host",
}


def check(layout: Layout) -> None:
    """Raise NotSupported naming what is missing, Conflict if another Open vSwitch works in this network namespace."""
    missing = sorted({package for program, package in PROGRAMS.items() if not Path(program).exists()})
    if missing:
        raise NotSupported(f"not installed: {', '.join(missing)}; run: apt-get install {' '.join(missing)}")
    try:
        version("neutron")
    except PackageNotFoundError as error:
        raise NotSupported("not installed: neutron; run: pip install 'isthmus[embedded]'") from error
    if os.geteuid() != 0:
        raise NotSupported("a switch needs root: run `isthmus up --with network` as root")
    open_vswitch.check_free(layout)


def configure(site: Site) -> None:
    """Write all configuration, and clear what dead programs left in the directory of sockets."""
    for leftover in site.layout.network_sockets.iterdir():
        leftover.unlink()
    for name in (*ovsdb.PART_NAMES, open_vswitch.PART, network_agent.PART):
        (site.layout.of("network") / name).mkdir(mode=0o700, exist_ok=True)
    open_vswitch.remember(site.layout)
    neutron.configure(site)


def directory(site: Site) -> Directory:
    """Return what Keystone must know of networks: Neutron, the agent, and a second project to be apart from."""
    if not CHOICE.is_chosen(site.layout):
        return NOTHING_ELSE
    return Directory(
        services=({"name": "neutron", "type": "network", "url": site.ports.neutron_url},),
        roles=(neutron.BINDING_ROLE,),
        users=(
            {"name": "neutron", "projects": ["service"], "roles": ["service"]},
            {"name": "demo2", "projects": ["demo2"], "roles": ["member"]},
            {
                "name": network_agent.USER,
                "projects": list(network_agent.PROJECTS),
                "roles": list(network_agent.ROLES),
            },
        ),
    )


def parts(site: Site) -> tuple[Part, ...]:
    """Return all of them as parts."""
    return (
        *ovsdb.parts(site),
        open_vswitch.part(site),
        *ovn.parts(site),
        neutron.part(site),
        network_agent.part(site),
    )


def release(layout: Layout) -> None:
    """Remove what the switch and the agent, by now ended, left in this network namespace. Another's: returns."""
    if open_vswitch.is_ours(layout):
        network_agent.release()
        open_vswitch.release(layout)
