"""The host's attachments: `Attachments` on the store, Neutron and the binders."""

import logging
import time
from collections.abc import Collection, Iterable
from dataclasses import replace

from isthmus.control.errors import Conflict, IsthmusError, NotFound, Unavailable
from isthmus.networking.attaching.contract import Attachments, Publishing
from isthmus.networking.attaching.limiting import missing_limits
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.attaching.plugging import plug_row, unplug_row
from isthmus.networking.attaching.reserving import Reservations, check_groups, drop_spare
from isthmus.networking.binding.contract import Nesting
from isthmus.networking.model import (
    Attachment,
    Fate,
    IpAddress,
    Key,
    Network,
    Owner,
    Port,
    Row,
    SparePort,
    State,
    Subnet,
    Target,
    Wish,
    addresses_of,
)
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.neutron.time_left import within
from isthmus.networking.planning.interface import interface_configuration
from isthmus.networking.planning.wishes import WARM_NAME, changes_for, host_tag, is_warm, misfit, pool_of
from isthmus.networking.store.spare_ports import Pool

log = logging.getLogger(__name__)

_NEUTRONS_OWN = frozenset({"network:dhcp", "network:distributed"})
"""Owners of ports that Neutron deletes with their network."""


class HostAttachments(Attachments):
    """The attachments of this host."""

    def __init__(self, parts: Parts, networks: Networks, publishing: Publishing | None = None) -> None:
        self._parts = parts
        self._networks = networks
        self._reservations = Reservations(parts, networks)
        self._publishing = publishing

    def reserve(self, wish: Wish, deadline: float | None = None) -> Attachment:
        """Give the key a port with addresses."""
        until = self._parts.deadline(deadline)
        with self._parts.locks.hold(wish.key, until), within(until):
            found = self._reservations.reserve(wish, until, time.time())
        log.info("reserved port %s for %s %s", found.port.id if found.port else "?", wish.key.owner, wish.key.id)
        return found

    def hand_over(self, old: Key, new: Wish, merged: Key | None = None, deadline: float | None = None) -> Attachment:
        """Put a reserved attachment under another key."""
        until = self._parts.deadline(deadline)
        with self._parts.locks.hold(new.key, until):
            row = self._parts.attachments.find(new.key)
            if row is not None:
                return row.attachment
            with self._parts.locks.hold(old, until), within(until):
                found = self._hand_over(old, new, merged, until)
        self._parts.nudge.set()
        return found

    def _hand_over(self, old: Key, new: Wish, merged: Key | None, deadline: float) -> Attachment:
        row = self._parts.attachments.find(old)
        if row is None or row.attachment.port is None or row.attachment.network is None:
            raise NotFound(f"nothing is reserved under {old.id}; reserve an address first")
        port, network = row.attachment.port, row.attachment.network
        # Only addresses of the port's own families move; what the port has beyond the demand it keeps.
        changes = changes_for(new, port, network)
        if merged is not None and merged != old:
            other = self._parts.attachments.find(merged)
            self.release(merged, deadline)
            if other is not None and other.attachment.port is not None and "fixed_ips" in changes:
                self._drop_now(other.attachment.port.id)
        if changes:
            neutron = self._parts.neutron(row.project)
            check_groups(neutron, new)
            port = neutron.update_port(port.id, changes)
            self._parts.attachments.note_port(port)
        wish = replace(new, network_id=network.id, project=new.project or row.attachment.wish.project)
        wrong = misfit(replace(wish, port_id=None), port)
        if wrong:
            raise Conflict(f"port {port.id}, reserved under {old.id}, {wrong}; ask for what it has")
        if not self._parts.attachments.rename(old, wish):
            raise Conflict(f"{old.id} is not reserved any more; reserve an address again")
        return replace(row.attachment, wish=wish, port=port)

    def plug(self, key: Key, target: Target, deadline: float | None = None) -> Attachment:
        """Plug the key's port into a target."""
        until = self._parts.deadline(deadline)
        with self._parts.locks.hold(key, until):
            row = self._parts.attachments.find(key)
            if row is None or row.attachment.port is None:
                raise NotFound(f"nothing is reserved under {key.id}; reserve a port first")
            found = plug_row(self._parts, row, target, until)
        log.info("plugged %s %s as %s", key.owner, key.id, found.far_interface)
        return found

    def unplug(self, key: Key, deadline: float | None = None) -> None:
        """Take the interface away and keep the port."""
        until = self._parts.deadline(deadline)
        with self._parts.locks.hold(key, until):
            row = self._parts.attachments.find(key)
            if row is not None:
                unplug_row(self._parts, row, until)

    def release(self, key: Key, deadline: float | None = None) -> None:
        """Unplug, and give the port back."""
        until = self._parts.deadline(deadline)
        if self._publishing is not None:
            self._publishing.revoke(key)
        with self._parts.locks.hold(key, until):
            row = self._parts.attachments.find(key)
            if row is None:
                return
            release_row(self._parts, row, until)
        self._parts.nudge.set()
        log.info("released %s %s", key.owner, key.id)

    def check(self, key: Key) -> tuple[str, ...]:
        """Return what is wrong with an attachment."""
        row = self._parts.attachments.find(key)
        if row is None:
            raise NotFound(f"nothing is attached under {key.id}")
        found = row.attachment
        if found.problem:
            return (found.problem,)
        if found.state is not State.PLUGGED or not (found.port and found.target and found.network):
            return (f"{key.id} is {found.state}, not plugged",)
        wanted = interface_configuration(found.port, found.network, default_route=found.target.default_route)
        wrong = self._parts.binders.get(row.binder).check(found.port, found.target, wanted)
        return wrong or missing_limits(found)

    def check_carrier(self, binder: str | None) -> None:
        """Return if what carries ports on this host answers."""
        found = self._parts.binders.get(binder)
        if not found.is_alive():
            raise Unavailable(
                f"what carries ports of binder {found.name} on host {self._parts.host} does not answer; start it (for "
                "ovs: ovsdb-server, ovs-vswitchd and, for its bridge, ovn-controller)"
            )

    def finishes_checksums(self, binder: str | None) -> bool:
        """Return whether senders must finish their checksums themselves."""
        return self._parts.binders.get(binder).finishes_checksums()

    def find(self, key: Key) -> Attachment | None:
        """Return the attachment of a key."""
        row = self._parts.attachments.find(key)
        return None if row is None else row.attachment

    def find_by_address(self, owner: Owner, network_id: str, address: IpAddress) -> Attachment | None:
        """Return the owner's attachment that has an address on a network."""
        row = self._parts.attachments.find_by_address(owner, network_id, address)
        return None if row is None else row.attachment

    def list_all(self, owner: Owner | None = None) -> tuple[Attachment, ...]:
        """Return the attachments of an owner, or all."""
        return tuple(row.attachment for row in self._parts.attachments.list_all(owner))

    def keep_only(self, owner: Owner, prefix: str, valid: Collection[Key]) -> tuple[Key, ...]:
        """Release every attachment of the owner whose id begins with `prefix` and is not valid."""
        released: list[Key] = []
        failures: list[IsthmusError] = []
        for row in self._parts.attachments.list_all(owner):
            if not row.key.id.startswith(prefix) or row.key in valid:
                continue
            try:
                self.release(row.key)
                released.append(row.key)
            except IsthmusError as error:
                log.warning("%s stays for now: %s", row.key.id, error.message)
                failures.append(error)
        if failures:
            raise failures[0]
        return tuple(released)

    def network(self, name_or_id: str, project: str | None) -> Network:
        """Return a network that the project may use."""
        return self._networks.get(name_or_id, self._parts.projects.name_of(project))

    def subnets(self, network_id: str, project: str | None) -> tuple[Subnet, ...]:
        """Return the subnets of a network."""
        return self.network(network_id, project).subnets

    def warm_up(self, network_id: str, project: str | None) -> None:
        """Have ports of a network made ready in the background."""
        name = self._parts.projects.name_of(project)
        wish = Wish(Key(Owner.HOST, ""), network_id)
        binder = self._parts.binders.get()
        if binder.nesting is not Nesting.NONE or not self._parts.limits.warm_ports:
            return
        try:
            network = self._networks.get(network_id, name)
        except IsthmusError as error:
            log.info("no ports of network %s are made ready before its first use: %s", network_id, error.message)
            return
        pool = pool_of(wish, name, binder.name, network)
        if pool is not None:
            self._parts.spares.use_pool(Pool(pool, name, network_id, time.time()))
            self._parts.nudge.set()

    def cool_down(self, network_id: str) -> None:
        """Have this host's warm ports of a network deleted in the background."""
        self._parts.spares.forget_pools(network_id)
        self._parts.nudge.set()

    def forget_network(self, network_id: str, project: str | None, deadline: float | None = None) -> None:
        """Delete this host's warm ports of a network, and what is known of it."""
        self._parts.networks.forget(network_id)
        self._parts.spares.forget_pools(network_id)
        until = self._parts.deadline(deadline)
        with self._parts.locks.hold(("spares", network_id), until):
            # Also those that were being made a moment ago.
            self._parts.spares.forget_pools(network_id)
            for spare in self._parts.spares.list_all(Fate.DOOMED, network_id):
                drop_spare(self._parts, spare)
            # And those that nobody knows any more, as an agent was killed over them. Another host's may be in use: a
            # container's port is called so until its label is written.
            neutron = self._parts.neutron(self._parts.projects.name_of(project))
            found = neutron.ports(network_id=network_id, name=WARM_NAME, tags=host_tag(self._parts.host))
            self._delete_unknown(neutron, found)

    def empty_network(self, network_id: str, project: str | None, deadline: float | None = None) -> None:
        """Do as `forget_network`, and delete other hosts' warm ports too."""
        self.forget_network(network_id, project, deadline)
        neutron = self._parts.neutron(self._parts.projects.name_of(project))
        left = neutron.ports(network_id=network_id)
        if all(is_warm(port) or port.device_owner in _NEUTRONS_OWN for port in left):
            self._delete_unknown(neutron, left)

    def _delete_unknown(self, neutron: Neutron, ports: Iterable[Port]) -> None:
        """Delete those of the ports that are warm and that nothing here knows."""
        for port in filter(is_warm, ports):
            if port.id not in self._parts.spares.known_ports():
                neutron.delete("ports", port.id)

    def _drop_now(self, port_id: str) -> None:
        for spare in self._parts.spares.list_all():
            if spare.port.id == port_id:
                self._parts.spares.doom(port_id)
                drop_spare(self._parts, spare)


def release_row(parts: Parts, row: Row, deadline: float) -> None:
    """Unplug an attachment's port and make it a spare one; the key's lock is held."""
    parts.attachments.move(row.key, list(State), State.RELEASING)
    port = row.attachment.port
    if port is None:
        parts.attachments.delete(row.key)
        return
    with parts.binding(row.binder, port.id, deadline) as binder:
        binder.unplug(port.id, row.attachment.target, deadline)
    parts.spares.release(row.key, spare_of(parts, row))


def spare_of(parts: Parts, row: Row) -> SparePort:
    """Return what an attachment's port becomes: warm again if its pool is short of it, else doomed.

    A warm one is given out once the chores have seen that nobody changed it in Neutron meanwhile.
    """
    found = row.attachment
    if found.port is None:
        raise ValueError(f"{row.key.id} has no port")
    pool = None if found.network is None else pool_of(found.wish, row.project, row.binder, found.network)
    fate = Fate.DOOMED
    if pool is not None and row.borrowed is None and not addresses_of(found.port) & set(found.wish.addresses):
        short = parts.spares.count_warm().get(pool, 0) < parts.limits.warm_ports
        used = any(each.pool == pool for each in parts.spares.pools())
        fate = Fate.WARM if short and used else Fate.DOOMED
    return SparePort(found.port, fate, pool or "", row.project, row.binder, row.borrowed, labelled=True)
