"""`isthmus network-agent` on this machine: its options, and the credentials by which it may use Neutron.

Its user is a member of two projects and may bind ports there. For each an application credential, good for Neutron
alone, is made and kept as a secret in Barbican that only Isthmus's own account may read; the options name it.
"""

import json
import subprocess
import sys
from pathlib import Path

import psutil

from isthmus.control.readiness import READY_FILE
from isthmus.embedded import neutron, ovn, ovsdb
from isthmus.embedded.layout import Layout
from isthmus.embedded.part import Part, Preparation, Site, program
from isthmus.embedded.readiness import file_exists

PART = "network-agent"
FAR, NEAR, MARK = "tap", "t_c", "isthmus:"
"""How `isthmus.networking.binding` names the ends of a pair, and marks the far one; a test holds the two together."""

USER = "network-agent"
PROJECTS = ("demo", "demo2")
ROLES = ("member", neutron.BINDING_ROLE)


def configuration_file(layout: Layout) -> Path:
    """Return the file with the agent's options, which is read after isthmus.conf."""
    return layout.of("network") / "agent.conf"


def socket_file(layout: Layout) -> Path:
    """Return the agent's own socket."""
    return layout.of("isthmus") / "network-agent.sock"


def release() -> None:
    """Remove the interfaces that the agent held ready in this network namespace and gave to nobody. None: returns.

    A pair of which the near end is still here, under its first name, is such a one; what a container or a guest has
    stays with it, and is on its network again after the next start.
    """
    said = subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=False)
    ours = {link["ifname"] for link in json.loads(said.stdout or "[]") if link.get("ifalias", "").startswith(MARK)}
    for name in psutil.net_if_stats():
        if name.startswith(NEAR) and FAR + name.removeprefix(NEAR) in ours:
            subprocess.run(["ip", "link", "del", name], check=False, capture_output=True)


def part(site: Site) -> Part:
    """Return the agent as a part."""
    ready = site.layout.ready_file(PART)
    files = (site.layout.configuration, configuration_file(site.layout))
    wanted = {
        "file": str(configuration_file(site.layout)),
        "user": USER,
        "roles": ROLES,
        "projects": PROJECTS,
        "options": {"ovsdb": ovsdb.connection(site, ovsdb.SWITCH)},
        # What makes the old secrets' addresses wrong.
        "barbican": site.ports.barbican_url,
        "keystone": site.ports.keystone_url,
    }
    return Part(
        name=PART,
        command=(program("isthmus"), PART, *(word for file in files for word in ("--config-file", str(file)))),
        environment={READY_FILE: str(ready)},
        check=file_exists(ready),
        ready_file=ready,
        address=str(socket_file(site.layout)),
        depends_on=("keystone", "barbican", neutron.PART, ovn.CONTROLLER),
        preparation=Preparation(
            command=(
                sys.executable,
                "-m",
                "isthmus.embedded.network_credentials",
                "--config-file",
                str(site.layout.configuration),
            ),
            stamp=site.layout.stamp(f"network/{PART}"),
            stamp_text=json.dumps(wanted, indent=2),
            stdin=json.dumps(wanted | {"password": site.credentials.network_agent}),
        ),
    )
