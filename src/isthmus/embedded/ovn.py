"""OVN: turns Neutron's networks into the switch's flows. Its databases are in `ovsdb`; here are its two programs."""

from contextlib import suppress

from isthmus.embedded import open_vswitch, ovsdb
from isthmus.embedded.ovsdb_wire import ask
from isthmus.embedded.part import Check, NotReady, Part, Site

NORTHD, CONTROLLER = "northd", "ovn-controller"


def parts(site: Site) -> tuple[Part, ...]:
    """Return northd and the controller as parts."""
    return (
        Part(
            name=NORTHD,
            command=(
                "/usr/bin/ovn-northd",
                f"--ovnnb-db={ovsdb.connection(site, ovsdb.NORTHBOUND)}",
                f"--ovnsb-db={ovsdb.connection(site, ovsdb.SOUTHBOUND)}",
                f"--unixctl={ovsdb.control(site, NORTHD)}",
                *ovsdb.quiet_log(),
            ),
            environment=ovsdb.environment(site),
            check=_northd_works(site),
            address="northbound to southbound",
            depends_on=(ovsdb.NORTHBOUND, ovsdb.SOUTHBOUND),
        ),
        Part(
            name=CONTROLLER,
            command=("/usr/bin/ovn-controller", ovsdb.connection(site, ovsdb.SWITCH), *ovsdb.quiet_log()),
            environment=ovsdb.environment(site),
            check=_controller_works(site),
            address=open_vswitch.INTEGRATION_BRIDGE,
            # northd makes the row of the southbound database that the controller looks for first.
            depends_on=(open_vswitch.PART, NORTHD),
        ),
    )


def _northd_works(site: Site) -> Check:
    def check() -> None:
        state = ask(ovsdb.control(site, NORTHD), "status")
        if "active" not in state:
            raise NotReady(f"northd is {state.strip()}")
        if not ovsdb.rows(site, ovsdb.NORTHBOUND, "OVN_Northbound", "NB_Global", ["nb_cfg"]):
            raise NotReady("the northbound database is empty yet")

    return check


def _controller_works(site: Site) -> Check:
    """Return a check that the controller reaches the southbound database and has made the integration bridge."""
    # OVN 23.03's controller does not let its socket be named: it is named after its process.
    sockets = site.layout.network_sockets

    def check() -> None:
        for path in sockets.glob("ovn-controller.*.ctl"):
            with suppress(OSError):  # a dead one's
                state = ask(path, "connection-status")
                bridges = ovsdb.rows(site, ovsdb.SWITCH, "Open_vSwitch", "Bridge", ["name"])
                made = {"name": open_vswitch.INTEGRATION_BRIDGE} in bridges
                if state.strip() == "connected" and made:
                    return
        raise NotReady("the controller is not connected yet")

    return check
