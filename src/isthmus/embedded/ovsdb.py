"""The databases of Open vSwitch and OVN: three private ovsdb-servers, each on a unix socket in a 0700 directory.

Every database is a file in the state directory's `network`, made from its package's schema at the first start and
converted when a newer package brings a newer schema.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from isthmus.embedded.layout import Layout
from isthmus.embedded.ovsdb_wire import ask, ovsdb_answers
from isthmus.embedded.part import Part, Preparation, Site

SWITCH, NORTHBOUND, SOUTHBOUND = "ovsdb", "ovn-nb", "ovn-sb"
PART_NAMES = (SWITCH, NORTHBOUND, SOUTHBOUND)
"""The parts: the switch's configuration, the network as Neutron wants it, the network as flows are made of it."""

_SCHEMAS = {
    SWITCH: Path("/usr/share/openvswitch/vswitch.ovsschema"),
    NORTHBOUND: Path("/usr/share/ovn/ovn-nb.ovsschema"),
    SOUTHBOUND: Path("/usr/share/ovn/ovn-sb.ovsschema"),
}


def environment(site: Site) -> Mapping[str, str]:
    """Return what tells every program of Open vSwitch and OVN that its files are in the state directory."""
    run, own, log = site.layout.network_sockets, site.layout.of("network"), site.layout.logs
    return {
        f"{family}_{room}DIR": str(directory)
        for family in ("OVS", "OVN")
        for room, directory in (("RUN", run), ("DB", own), ("LOG", log), ("SYSCONF", own))
    }


def quiet_log() -> tuple[str, ...]:
    """Return the options that send a program's log to standard error alone."""
    return ("-vconsole:info", "-vsyslog:off", "-vfile:off")


def file(layout: Layout, name: str) -> Path:
    """Return the file of a database."""
    return layout.of("network") / f"{name}.db"


def socket(site: Site, name: str) -> Path:
    """Return the socket of a database."""
    return site.layout.network_sockets / f"{name}.sock"


def control(site: Site, name: str) -> Path:
    """Return the socket by which a program is controlled."""
    return site.layout.network_sockets / f"{name}.ctl"


def connection(site: Site, name: str) -> str:
    """Return how clients name a database."""
    return f"unix:{socket(site, name)}"


def parts(site: Site) -> tuple[Part, ...]:
    """Return the three servers as parts."""
    return tuple(_part(site, name, schema) for name, schema in _SCHEMAS.items())


def _part(site: Site, name: str, schema: Path) -> Part:
    kept = file(site.layout, name)
    return Part(
        name=name,
        command=(
            "/usr/sbin/ovsdb-server",
            str(kept),
            f"--remote=punix:{socket(site, name)}",
            f"--unixctl={control(site, name)}",
            *quiet_log(),
        ),
        environment=environment(site),
        check=ovsdb_answers(socket(site, name)),
        address=str(socket(site, name)),
        preparation=Preparation(
            command=(sys.executable, "-m", "isthmus.embedded.ovsdb_install", str(kept), str(schema)),
            stamp=site.layout.stamp(f"network/{name}"),
            stamp_text=_version(schema),
        ),
    )


def _version(schema: Path) -> str:
    if not schema.exists():  # said by check_installed, before anything starts
        return "absent"
    found = json.loads(schema.read_text())
    return f"{found['name']} {found['version']}"


def rows(site: Site, name: str, database: str, table: str, columns: list[str]) -> list[dict[str, object]]:
    """Return all rows of a table. Raises NotReady or OSError if the server does not answer."""
    select = {"op": "select", "table": table, "where": [], "columns": columns}
    (answer,) = ask(socket(site, name), "transact", database, select)
    found: list[dict[str, object]] = answer["rows"]
    return found
