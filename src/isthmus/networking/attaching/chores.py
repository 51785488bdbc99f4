"""What is done behind the attachments' backs: labels, ports given back, warm ports made and prepared.

One round at a time, each chore by itself: what fails is left for the next round and keeps nothing else from being done.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from isthmus.control.errors import IsthmusError, NotFound
from isthmus.networking.attaching.nesting import device_of
from isthmus.networking.attaching.networks import Networks
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.attaching.reserving import check_groups, clean, drop_spare
from isthmus.networking.binding.contract import Nesting
from isthmus.networking.model import Fate, Key, Owner, Row, SparePort, Wish
from isthmus.networking.planning.wishes import WARM_NAME, host_tag, kind_of_pool, label_of, pool_of, port_body, rules_of
from isthmus.networking.store.spare_ports import Pool

log = logging.getLogger(__name__)

Item = TypeVar("Item")

_PAUSE, _PAUSE_WHEN_REFUSED = 15.0, 60.0
"""Seconds before a pool is filled again for which Neutron was silent, or had no address or quota left."""

_GROUPS_IDLE = 15.0
"""Seconds that a pool with security groups of its own is kept without an attachment that has them."""


class Chores:
    """The rounds."""

    def __init__(self, parts: Parts, networks: Networks, clock: Callable[[], float] = time.time) -> None:
        self._parts = parts
        self._networks = networks
        self._clock = clock
        self._paused: dict[str, float] = {}

    def do_round(self) -> bool:
        """Do what is to be done; return whether all of it was."""
        done = True
        for chore in (self._look_over, self._label, self._clean, self._prepare, self._drop, self._fill, self._refresh):
            try:
                done = chore() and done
            except IsthmusError as error:
                log.warning("%s", error.message)
                done = False
        return done

    def _each(self, act: Callable[[Item], None], items: Iterable[Item], what: Callable[[Item], str]) -> bool:
        done = True
        for item in items:
            try:
                act(item)
            except IsthmusError as error:
                log.warning("%s: %s", what(item), error.message)
                done = False
        return done

    def _label(self) -> bool:
        rows = self._parts.attachments.list_unlabelled()
        return self._each(self._label_one, rows, lambda row: f"port of {row.key.id}")

    def _label_one(self, row: Row) -> None:
        port = row.attachment.port
        if port is None:
            return
        label = label_of(row.attachment.wish)
        neutron = self._parts.neutron(row.project)
        changes = device_of(self._parts.binders.get(row.binder), label)
        if row.borrowed is None:
            # The name and the tags of somebody's port stay as they are.
            changes["name"] = label.name
        try:
            labelled = neutron.update_port(port.id, changes) if changes else port
            if row.borrowed is None and (label.tags or (port.tags and len(port.tags) > 2)):
                neutron.replace_tags("ports", port.id, {host_tag(self._parts.host), *label.tags})
        except NotFound:
            # Somebody deleted a port in use: the repairs say so in the attachment.
            self._parts.attachments.labelled(row, port)
            raise
        self._parts.attachments.labelled(row, labelled)

    def _drop(self) -> bool:
        networks = {spare.port.network_id for spare in self._parts.spares.list_all(Fate.DOOMED)}
        return self._each(self._drop_of, networks, lambda network_id: f"ports of network {network_id}")

    def _drop_of(self, network_id: str) -> None:
        with self._spares_of(network_id):
            for spare in self._parts.spares.list_all(Fate.DOOMED, network_id):
                drop_spare(self._parts, spare)

    def _fill(self) -> bool:
        now, limits = self._clock(), self._parts.limits
        have = self._parts.spares.count_warm()
        low: list[Pool] = []
        for pool in self._parts.spares.pools():
            why = self._why_forget(pool, now)
            if why:
                log.info("the warm ports of network %s go: %s", pool.network_id, why)
                self._parts.spares.forget_pool(pool.pool)
                self._parts.nudge.set()
            elif have.get(pool.pool, 0) * 2 <= limits.warm_ports and self._paused.get(pool.pool, 0) <= now:
                low.append(pool)
        fill = partial(self._fill_one, have)
        return self._each(fill, low, lambda pool: f"the warm ports of network {pool.network_id}")

    def _why_forget(self, pool: Pool, now: float) -> str | None:
        """Return why a pool's ports are wanted no more; None if they are."""
        kind = kind_of_pool(pool.pool)
        known = self._parts.networks.recall(pool.project, pool.network_id)
        if known is not None and kind.is_outdated(known[0]):
            return "it has a subnet of another family by now"
        idle = now - pool.used_at
        if idle > self._parts.limits.warm_seconds:
            return "it has not been used for a while"
        if kind.security_groups and idle > _GROUPS_IDLE and not self._is_attached(pool):
            # Neutron deletes no security group that a port has.
            return "nothing here has these security groups any more"
        return None

    def _is_attached(self, pool: Pool) -> bool:
        rows = self._parts.attachments.list_all()
        return any(
            row.attachment.network is not None
            and pool_of(row.attachment.wish, row.project, row.binder, row.attachment.network) == pool.pool
            for row in rows
        )

    def _fill_one(self, have: Mapping[str, int], pool: Pool) -> None:
        count = self._parts.limits.warm_ports - have.get(pool.pool, 0)
        kind = kind_of_pool(pool.pool)
        network_id, binder = kind.network_id, kind.binder
        try:
            network = self._networks.get(network_id, pool.project)
        except NotFound:
            self._parts.spares.forget_pool(pool.pool)
            raise
        wish = Wish(Key(Owner.HOST, ""), network_id, subnet_ids=kind.subnet_ids, security_groups=kind.security_groups)
        nested = self._parts.binders.get(binder).nesting is not Nesting.NONE
        body = port_body(wish, network, None if nested else self._parts.host)
        body |= {"name": WARM_NAME, "device_owner": "compute:kuryr"}
        with self._spares_of(network_id), self._parts.in_flight.creating() as trying:
            if self._is_forgotten(pool):
                return  # Meanwhile.
            body["tags"] = [host_tag(self._parts.host), trying]
            try:
                check_groups(self._parts.neutron(pool.project), wish)
                made = self._parts.neutron(pool.project).create_ports(body, count)
            except NotFound:
                # The network, or a security group, was deleted.
                self._parts.spares.forget_pool(pool.pool)
                raise
            except IsthmusError as error:
                # One that Neutron was too slow to answer may be done yet: many of these would bury it.
                self._paused[pool.pool] = self._clock() + (_PAUSE if error.retryable else _PAUSE_WHEN_REFUSED)
                raise
            for port in made:
                self._parts.spares.put(SparePort(port, Fate.WARM, pool.pool, pool.project, binder))
            self._parts.spares.keep_rules(pool.pool, rules_of(made[0]))
            if self._is_forgotten(pool):
                # While Neutron made them.
                for port in made:
                    self._parts.spares.doom(port.id)
        log.info("made %d warm ports on network %s", count, network_id)
        self._parts.nudge.set()

    def _is_forgotten(self, pool: Pool) -> bool:
        return all(each.pool != pool.pool for each in self._parts.spares.pools())

    def _prepare(self) -> bool:
        spares = [spare for spare in self._parts.spares.list_all(Fate.WARM) if not spare.prepared]
        return self._each(self._prepare_one, spares, _name)

    def _prepare_one(self, spare: SparePort) -> None:
        network = self._networks.get(spare.port.network_id, spare.project)
        with self._parts.binding(spare.binder, spare.port.id, self._parts.deadline(None)) as binder:
            if any(each.port.id == spare.port.id for each in self._parts.spares.list_all(Fate.WARM)):
                binder.prepare(spare.port, network)
                self._parts.spares.prepared(spare.port.id)

    def _look_over(self) -> bool:
        """Ask what used ports are like by now, all with one call: the next container may have them at once."""
        by_project: dict[str, dict[str, SparePort]] = {}
        for spare in self._parts.spares.list_all(Fate.WARM):
            if spare.labelled and not self._parts.looked_over.knows(spare.port.id):
                by_project.setdefault(spare.project, {})[spare.port.id] = spare
        return self._each(self._look_over_of, by_project.items(), lambda found: f"used ports of project {found[0]}")

    def _look_over_of(self, found: tuple[str, dict[str, SparePort]]) -> None:
        project, spares = found
        self._parts.looked_over.begin()
        for port in self._parts.neutron(project).ports(id=sorted(spares)):
            spare = spares.get(port.id)
            if spare is not None and rules_of(port) == self._parts.spares.rules(spare.pool):
                self._parts.looked_over.note(port)

    def _clean(self) -> bool:
        """Take the last user's label off warm ports; what somebody changed meanwhile goes to nobody else."""
        spares = [spare for spare in self._parts.spares.list_all(Fate.WARM) if spare.labelled]
        return self._each(self._clean_one, spares, _name)

    def _clean_one(self, spare: SparePort) -> None:
        if all(each.port.id != spare.port.id for each in self._parts.spares.list_all(Fate.WARM)):
            return  # Somebody took it meanwhile.
        port = clean(self._parts, spare)
        self._parts.looked_over.leave(spare.port.id)
        if port is not None:
            self._parts.spares.cleaned(port)
        else:
            self._parts.spares.doom(spare.port.id)
            self._parts.nudge.set()

    def _refresh(self) -> bool:
        self._networks.refresh()
        return True

    @contextmanager
    def _spares_of(self, network_id: str) -> Iterator[None]:
        with self._parts.locks.hold(("spares", network_id), self._parts.deadline(None)):
            yield


def _name(spare: SparePort) -> str:
    return f"port {spare.port.id}"
