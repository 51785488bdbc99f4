"""Open vSwitch's database: which interface is plugged for which port. One connection, made when first needed."""

import importlib
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _import_poller() -> None:
    """Import ovs.poller without eventlet, which it would import wherever it is installed: memory and a warning.

    Only for this import: others of the process may want eventlet.
    """
    if "eventlet" in sys.modules:
        return
    sys.modules["eventlet"] = None  # type: ignore[assignment]
    try:
        importlib.import_module("ovs.poller")
    finally:
        del sys.modules["eventlet"]


_import_poller()

from ovsdbapp.backend.ovs_idl import connection, idlutils  # noqa: E402
from ovsdbapp.schema.open_vswitch.impl_idl import OvsdbIdl  # noqa: E402

from isthmus.networking.binding.contract import BindingUnavailable  # noqa: E402
from isthmus.networking.binding.ovsdb_echo import answers  # noqa: E402 - as ovsdbapp's

# Not an interface's statistics, which change every five seconds.
_COLUMNS = {
    "Open_vSwitch": ("bridges", "cur_cfg", "external_ids", "next_cfg", "other_config"),
    "Bridge": ("datapath_type", "name", "ports"),
    "Port": ("interfaces", "name"),
    "Interface": ("error", "external_ids", "name", "ofport"),
}
_MARK = "isthmus"
_CHECKSUMS, _FINISHED = "isthmus-checksums", "finished"
_INDEX = "isthmus-ifindex"
_OFFLOAD = "userspace-tso-enable"
_POLL = 0.01
_LONGEST_ECHO = 5.0


@dataclass(frozen=True)
class OvsInterface:
    """An interface of ours in the database.

    `offered`: OVN is told which port it is (`iface-id`). `finished`: its sender was made to finish checksums.
    `index` is the kernel's of the link that was plugged: another link of its name, as the tap of a machine that was
    started again, is not read by the userspace datapath, which does not notice.
    """

    name: str
    port_id: str
    bridge: str | None
    of_port: int | None
    flows_installed: bool
    offered: bool = True
    finished: bool = False
    index: int | None = None

    def carries(self, link_index: int, *, finished: bool) -> bool:
        """Return whether a link is on the bridge, offered to OVN, and of a sender as it must be."""
        is_same = self.index in {None, link_index}
        return is_same and self.bridge is not None and self.offered and (self.finished or not finished)


class OvsDatabase:
    """The database at one address, with the bridge that ports are plugged into."""

    def __init__(self, address: str, bridge: str, timeout: float) -> None:
        self._address = address
        self._bridge = bridge
        self._timeout = timeout
        self._lock = threading.Lock()
        self._api: OvsdbIdl | None = None

    def hostname(self) -> str | None:
        """Return the name under which Open vSwitch (and so OVN) knows this host."""
        api = self._connect()
        ids = api.db_get("Open_vSwitch", ".", "external_ids").execute(check_error=True)
        return dict(ids).get("hostname")

    def connect_port(self, name: str, port_id: str, mac: str, index: int, *, finished: bool = False) -> None:
        """Plug a link for a port, and unplug any other of ours for it. Already so: success.

        `index` is the kernel's; `finished` is written down of a sender that finishes its checksums.
        """
        api = self._connect()
        ids = {"iface-id": port_id, "attached-mac": mac, "iface-status": "active", "owner": _MARK, _MARK: port_id}
        ids[_INDEX] = str(index)
        if finished:
            ids[_CHECKSUMS] = _FINISHED

        def act() -> None:
            have = self.interfaces()
            if name in have and have[name].index not in {None, index}:
                # In a transaction of its own: the switch must have let go of the old link before it takes the new one.
                api.del_port(name, if_exists=True).execute(check_error=True)
                del have[name]
            with api.transaction(check_error=True) as transaction:
                for other in have.values():
                    if other.port_id == port_id and other.name != name:
                        transaction.add(api.del_port(other.name, if_exists=True))
                transaction.add(api.add_port(self._bridge, name, may_exist=True, external_ids=ids))
                old = have.get(name)
                if old and (old.port_id != port_id or old.index is None or not old.carries(index, finished=finished)):
                    transaction.add(api.db_set("Interface", name, ("external_ids", ids)))

        self._try(f"plug {name} for port {port_id}", act)

    def disconnect(self, name: str) -> None:
        """Unplug a link. Not plugged: success."""
        api = self._connect()
        self._try(f"unplug {name}", lambda: api.del_port(name, if_exists=True).execute(check_error=True))

    def disconnect_port(self, port_id: str) -> None:
        """Unplug whatever of ours is plugged for a port."""
        for interface in self.interfaces().values():
            if interface.port_id == port_id:
                self.disconnect(interface.name)

    def interfaces(self) -> dict[str, OvsInterface]:
        """Return {name: interface} of all that are ours."""
        api = self._connect()
        with api.ovsdb_connection.lock:
            tables = api.idl.tables
            bridges = {
                interface.uuid: bridge.name
                for bridge in tables["Bridge"].rows.values()
                for port in bridge.ports
                for interface in port.interfaces
            }
            return {
                row.name: _to_interface(row, bridges.get(row.uuid))
                for row in tables["Interface"].rows.values()
                if _MARK in row.external_ids
            }

    def wait_for_flows(self, name: str, deadline: float) -> bool:
        """Return whether OVN has installed the port's flows, waiting for it until the deadline (monotonic)."""
        while True:
            interface = self.interfaces().get(name)
            if interface is not None and interface.flows_installed:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)

    def finishes_checksums(self) -> bool:
        """Return whether the bridge drops unfinished checksums: the userspace datapath without segmentation offload."""
        api = self._connect()
        with api.ovsdb_connection.lock:
            tables = api.idl.tables
            settings = [row.other_config for row in tables["Open_vSwitch"].rows.values()]
            kinds = [row.datapath_type for row in tables["Bridge"].rows.values() if row.name == self._bridge]
        return kinds == ["netdev"] and not any(each.get(_OFFLOAD) == "true" for each in settings)

    def is_alive(self) -> bool:
        """Return whether the database answers now, and has the bridge."""
        try:
            api = self._connect()
            # A connection of its own: that of the IDL does not say whether it is up.
            if not answers(self._address, min(self._timeout, _LONGEST_ECHO)):
                return False
            with api.ovsdb_connection.lock:
                return any(row.name == self._bridge for row in api.idl.tables["Bridge"].rows.values())
        except Exception:  # noqa: BLE001 - ovs raises bare Exception
            return False

    def close(self) -> None:
        """Close the connection and end its thread."""
        with self._lock:
            if self._api is not None:
                self._api.ovsdb_connection.stop(self._timeout)
                self._api = None

    def _connect(self) -> OvsdbIdl:
        with self._lock:
            if self._api is None:
                self._api = self._try("connect", self._open)
            return self._api

    def _open(self) -> OvsdbIdl:
        schema = idlutils.get_schema_helper(self._address, "Open_vSwitch")
        for table, columns in _COLUMNS.items():
            schema.register_columns(table, list(columns))
        idl = connection.OvsdbIdl(self._address, schema)
        # ovsdbapp keeps the first connection with the class, even one that failed: a class for each connection.
        api: type[OvsdbIdl] = type("OvsdbIdl", (OvsdbIdl,), {})
        return api(connection.Connection(idl=idl, timeout=self._timeout))

    def _try(self, what: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except Exception as error:
            # ovsdbapp and ovs raise what they please, down to bare Exception; all mean that it was not done.
            reason = " ".join(str(error).split()) or type(error).__name__
            raise BindingUnavailable(
                f"Open vSwitch's database at {self._address} did not {what}: {reason}; see that ovsdb-server and "
                f"ovs-vswitchd run and that there is a bridge {self._bridge}, and try again"
            ) from error


def _to_interface(row: Any, bridge: str | None) -> OvsInterface:
    ids = row.external_ids
    return OvsInterface(
        row.name,
        ids[_MARK],
        bridge,
        row.ofport[0] if row.ofport else None,
        flows_installed=ids.get("ovn-installed") == "true",
        offered=ids.get("iface-id") == ids[_MARK],
        finished=ids.get(_CHECKSUMS) == _FINISHED,
        index=int(ids[_INDEX]) if ids.get(_INDEX, "").isdigit() else None,
    )
