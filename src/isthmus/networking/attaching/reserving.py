"""A port for a wish: a warm one, one that somebody named, or a new one."""

import logging
import sqlite3
from dataclasses import replace

from isthmus.control.errors import Conflict, IsthmusError, NotFound
from isthmus.networking.attaching.nesting import device_of, leave_parent
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Parts, check_time
from isthmus.networking.binding.contract import Nesting
from isthmus.networking.model import Attachment, Fate, Network, Port, Row, SparePort, State, Wish, addresses_of
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.neutron.faults import AddressTaken, NoAddressLeft
from isthmus.networking.planning.wishes import (
    WARM_NAME,
    differing_rules,
    host_tag,
    label_of,
    misfit,
    pool_of,
    port_body,
    rules_of,
)
from isthmus.networking.store.spare_ports import Pool

log = logging.getLogger(__name__)


class Reservations:
    """Reserves; called with the key's lock held."""

    def __init__(self, parts: Parts, networks: Networks) -> None:
        self._parts = parts
        self._networks = networks

    def reserve(self, wish: Wish, deadline: float, now: float) -> Attachment:
        """Return the key's attachment, made if it is not there. `now` is the wall clock's, for the pool's last use."""
        parts = self._parts
        row = parts.attachments.find(wish.key)
        if row is not None and row.attachment.state is State.RESERVING:
            # Whoever reserved it is gone; the port, if there is one, is found by its tag.
            parts.attachments.delete(wish.key)
            row = None
        if row is not None:
            return self._same(row, wish)
        project = parts.projects.name_of(wish.project)
        network = self._networks.get(wish.network_id, project)
        wish = replace(wish, network_id=network.id)
        binder = parts.binders.get(wish.binder).name
        nested = parts.binders.get(binder).nesting is not Nesting.NONE
        pool = None if nested else pool_of(wish, project, binder, network)
        if pool is not None and parts.limits.warm_ports:
            parts.spares.use_pool(Pool(pool, project, network.id, now))
            taken = self._take_warm(pool, wish, network)
            if taken is not None:
                return taken.attachment
            used = None if wish.addresses else self._take_used(pool, wish, network)
            if used is not None:
                return used
        check_time(deadline, f"create a port for {wish.key.id}")
        row = Row(Attachment(wish, State.RESERVING), project, binder)
        if not parts.attachments.insert(row):
            raise Conflict(f"{wish.key.id} is being attached by somebody else; try again")
        with parts.in_flight.creating() as trying:
            try:
                port = self._borrow(row) if wish.port_id else self._create(row, network, trying, deadline)
            except BaseException:
                # If Neutron made it after all, the repairs find it by its tag.
                parts.attachments.delete(wish.key)
                raise
            network = self._network_of(row, port, network)
            parts.attachments.set_port(wish.key, port, network, labelled=True)
        parts.nudge.set()
        return Attachment(wish, State.RESERVED, port, network)

    def _same(self, row: Row, wish: Wish) -> Attachment:
        found = row.attachment
        wrong = self._other_than(row, wish)
        if wrong is None and found.port is not None:
            wrong = misfit(replace(wish, network_id=found.wish.network_id), found.port)
        if wrong:
            raise Conflict(f"{wish.key.id} is attached already, and its port {wrong}; detach it first")
        if found.state is State.RELEASING:
            raise Conflict(f"{wish.key.id} is being detached; try again when that has ended")
        return found

    def _other_than(self, row: Row, wish: Wish) -> str | None:
        """Return in what an attachment is of another wish, beside what its port shows; None if it is of this one."""
        parts, have = self._parts, row.attachment.wish
        project = parts.projects.name_of(wish.project)
        if project != row.project:
            return f"is of project {row.project}, not {project}"
        if wish.network_id != have.network_id and self._networks.get(wish.network_id, project).id != have.network_id:
            return f"is on network {have.network_id}, not {wish.network_id}"
        if wish.binder is not None and wish.binder != row.binder:
            return f"is plugged by binder {row.binder}, not {wish.binder}"
        return differing_rules(wish, have)

    def _take_warm(self, pool: str, wish: Wish, network: Network) -> Row | None:
        spares = self._parts.spares
        if not wish.addresses:
            row = spares.take(pool, wish, network)
        else:
            row = spares.take_with_address(pool, wish, network, wish.addresses[0])
        if row is not None:
            self._parts.nudge.set()
            wrong = misfit(wish, row.attachment.port) if row.attachment.port else None
            if wrong:
                spare = SparePort(row.attachment.port, Fate.DOOMED, pool, row.project, row.binder)  # type: ignore[arg-type]
                spares.release(wish.key, spare)
                raise AddressTaken(f"the port with address {wish.addresses[0]} {wrong}; ask for one address only")
        return row

    def _take_used(self, pool: str, wish: Wish, network: Network) -> Attachment | None:
        """Take a port on which its last user's label still is: to look it over, if nobody has, beats making another."""
        spares = self._parts.spares
        while (spare := spares.take_used(pool, wish, network)) is not None:
            try:
                port = self._parts.looked_over.leave(spare.port.id) or clean(self._parts, spare)
            except BaseException:
                # It is as it was; the chores look at it again.
                spares.release(wish.key, spare)
                raise
            if port is not None:
                self._parts.attachments.set_port(wish.key, port, network, labelled=False)
                self._parts.nudge.set()
                return Attachment(wish, State.RESERVED, port, network)
            spares.release(wish.key, replace(spare, fate=Fate.DOOMED))
            self._parts.nudge.set()
        return None

    def _create(self, row: Row, network: Network, trying: str, deadline: float) -> Port:
        wish = row.attachment.wish
        label = label_of(wish)
        neutron = self._parts.neutron(row.project)
        check_groups(neutron, wish)
        body = port_body(wish, network, self._host_for(row.binder))
        body |= {"name": label.name, **device_of(self._parts.binders.get(row.binder), label)}
        body["tags"] = [host_tag(self._parts.host), trying, *label.tags]
        try:
            return neutron.create_port(**body)
        except (AddressTaken, NoAddressLeft):
            # Ports that are being made, or given up, may hold it for a moment longer.
            with self._parts.locks.hold(("spares", network.id), deadline):
                self._give_up_spares(row, network)
                return neutron.create_port(**body)

    def _network_of(self, row: Row, port: Port, network: Network) -> Network:
        """Return the network as it is now if the port has an address of a subnet that it had not when it was read.

        What plugs the port needs that subnet's routes, and the warm ports that lack it must go.
        """
        known = {each.id for each in network.subnets}
        if all(each.subnet_id in known for each in port.fixed_ips):
            return network
        try:
            return self._networks.read(network.id, row.project)
        except IsthmusError as error:
            log.warning("network %s has changed, and cannot be read now: %s", network.id, error.message)
            return network

    def _give_up_spares(self, row: Row, network: Network) -> None:
        """Delete this host's idle ports that hold the address or the MAC that the wish demands; all, if it has none."""
        wish = row.attachment.wish
        wanted, mac = set(wish.addresses), (wish.mac or "").lower()
        for spare in self._parts.spares.list_all(network_id=network.id):
            holds = wanted & addresses_of(spare.port) or mac == spare.port.mac.lower()
            if spare.borrowed is None and (holds or not (wanted or mac)):
                self._parts.spares.doom(spare.port.id)
                drop_spare(self._parts, spare)

    def _borrow(self, row: Row) -> Port:
        wish = row.attachment.wish
        neutron = self._parts.neutron(row.project)
        port = neutron.port(str(wish.port_id))
        self._return_first(port)
        wrong = misfit(wish, port)
        if wrong:
            raise Conflict(f"port {port.id} {wrong}; correct the request, or choose another port")
        if port.device_owner.startswith("network:") or (port.device_id and port.device_id != label_of(wish).device_id):
            raise Conflict(
                f"port {port.id} is in use by {port.device_id or port.device_owner} ({port.device_owner}); "
                "detach it there, or choose another port"
            )
        before = {"device_id": port.device_id, "device_owner": port.device_owner, "binding:host_id": port.host}
        try:
            self._parts.attachments.borrow(wish.key, port.id, before)
        except sqlite3.IntegrityError:
            raise Conflict(f"port {port.id} is attached on this host already; detach it there first") from None
        changes = device_of(self._parts.binders.get(row.binder), label_of(wish))
        host = self._host_for(row.binder)
        if host is not None:
            changes["binding:host_id"] = host
        return neutron.update_port(port.id, changes, port.revision) if changes else port

    def _return_first(self, port: Port) -> None:
        """Finish giving a port back, if that is still to be done: what it was like is about to be written down."""
        for spare in self._parts.spares.list_all(Fate.DOOMED, port.network_id):
            if spare.port.id == port.id:
                drop_spare(self._parts, spare)

    def _host_for(self, binder: str) -> str | None:
        return self._parts.host if self._parts.binders.get(binder).nesting is Nesting.NONE else None


def check_groups(neutron: Neutron, wish: Wish) -> None:
    """Raise `NotFound` for a security group or QoS policy that the project does not see."""
    for kind, wanted in (
        ("security-groups", list(wish.security_groups or ())),
        ("qos/policies", [wish.qos_policy] if wish.qos_policy else []),
    ):
        if not wanted:
            continue
        unknown = set(wanted) - {each["id"] for each in neutron.list(kind, {"id": wanted})}
        if unknown:
            what = "security group" if kind == "security-groups" else "QoS policy"
            raise NotFound(f"the project sees no {what} {', '.join(sorted(unknown))}; check the id and the project")


def clean(parts: Parts, spare: SparePort) -> Port | None:
    """Take its last user's label off a warm port; None if it is gone, or somebody changed what applies to it."""
    try:
        port = parts.neutron(spare.project).update_port(spare.port.id, {"name": WARM_NAME, "device_id": ""})
    except NotFound:
        return None
    if rules_of(port) != parts.spares.rules(spare.pool):
        log.info("port %s is not as its pool's are, and goes", port.id)
        return None
    return port


def drop_spare(parts: Parts, spare: SparePort) -> None:
    """Give a doomed port back to whoever it was borrowed from, or delete it, and forget it. Gone: success."""
    neutron = parts.neutron(spare.project)
    deadline = parts.deadline(None)
    try:
        with parts.binding(spare.binder, spare.port.id, deadline) as binder:
            binder.unplug(spare.port.id, None, deadline)
    except IsthmusError as error:
        log.warning("the interface of port %s stays for now: %s", spare.port.id, error.message)
    leave_parent(parts, parts.binders.get(spare.binder), spare.port)
    if spare.borrowed is None:
        neutron.delete("ports", spare.port.id)
    else:
        try:
            neutron.update_port(spare.port.id, dict(spare.borrowed))
        except NotFound:
            log.info("port %s was deleted by its owner", spare.port.id)
    parts.spares.gone(spare.port.id)
