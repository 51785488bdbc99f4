"""Looks at the store, Neutron and the host, and mends what differs: at start, and every while.

Each repair looks again with the lock held before it acts, so it may be planned from what is old by then.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from isthmus.control.errors import IsthmusError, NotFound
from isthmus.networking.attaching.attachments import release_row
from isthmus.networking.attaching.limiting import apply_limits, missing_limits
from isthmus.networking.attaching.nesting import carried_ports
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.attaching.plugging import plug_row, unplug_row
from isthmus.networking.binding.contract import Binder, BindingUnavailable, NamespaceGone
from isthmus.networking.model import Key, Port, Row, State, TargetKind
from isthmus.networking.planning.interface import interface_configuration
from isthmus.networking.planning.repairs import Interface, Observed, Repair, RepairKind, plan_repairs
from isthmus.networking.planning.wishes import host_tag

log = logging.getLogger(__name__)

_SOON = 1.0
"""Seconds that a repair waits for a key in motion before it leaves it to the next round."""


@dataclass(frozen=True)
class Report:
    """The last round: how each project's Neutron answered ("ok" or its error), what was mended since the start."""

    rounds: int = 0
    neutron: Mapping[str, str] = field(default_factory=dict)
    mended: Mapping[str, int] = field(default_factory=dict)


class Repairs:
    """The rounds of repairs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._mended: Counter[str] = Counter()
        self.last = Report()
        self._act: dict[RepairKind, Callable[[Repair], bool]] = {
            RepairKind.FORGET: self._forget,
            RepairKind.FINISH_RELEASE: self._finish_release,
            RepairKind.UNDO_PLUG: self._undo_plug,
            RepairKind.MEND: self._mend,
            RepairKind.LIMIT: self._limit,
            RepairKind.MARK: self._mark,
            RepairKind.UNMARK: self._unmark,
            RepairKind.REMOVE_STRAY: self._remove_stray,
            RepairKind.DELETE_ORPHAN: self._delete_orphan,
            RepairKind.FORGET_SPARE: self._forget_spare,
            RepairKind.PREPARE_AGAIN: self._prepare_again,
        }

    def do_round(self) -> None:
        """Observe, plan, mend; what fails is tried again in the next round."""
        neutron: dict[str, str] = {}
        observed = self._observe(neutron)
        rows = self._parts.attachments.list_all()
        for repair in plan_repairs(rows, self._parts.spares.list_all(), observed):
            try:
                if self._act[repair.kind](repair):
                    log.info("repaired (%s): %s", repair.kind, repair.why)
                    self._mended[repair.kind] += 1
            except IsthmusError as error:
                log.warning("not repaired yet (%s): %s: %s", repair.kind, repair.why, error.message)
        self.last = Report(self.last.rounds + 1, neutron, dict(self._mended))
        self._parts.nudge.set()

    def _observe(self, answers: dict[str, str]) -> Observed:
        parts = self._parts
        before = parts.in_flight.tags()
        # What is attached is listed before the ports are: a port reserved after that is not looked for among them.
        ports: dict[str, Mapping[str, Port] | None] = {}
        for project in parts.projects.names:
            try:
                ports[project] = self._ports_of(project)
                answers[project] = "ok"
            except IsthmusError as error:
                ports[project] = None
                answers[project] = error.message
        interfaces: dict[str, list[Interface] | None] = {}
        for binder in parts.binders.in_use():
            try:
                interfaces[binder.name] = [
                    Interface(binder.name, far, each.port_id, each.in_use, each.connected)
                    for far, each in binder.plugged_ports().items()
                ]
            except BindingUnavailable as error:
                log.warning("%s", error.message)
                interfaces[binder.name] = None
        held = {key for key in parts.locks.held() if isinstance(key, Key)}
        blind = [binder for binder in parts.binders.in_use() if not binder.sees_containers]
        mine = [port for found in ports.values() for port in (found or {}).values()]
        return Observed(
            ports,
            interfaces,
            settling_keys=held,
            settling_tags=before | parts.in_flight.tags(),
            blind={binder.name for binder in blind},
            carried=self._carried(blind, mine),
            unlimited=self._unlimited(),
        )

    def _carried(self, blind: Sequence[Binder], ports: Sequence[Port]) -> frozenset[str] | None:
        """Return which ports the parents carry: in a container, where the binder does not see, or about to be."""
        try:
            return frozenset(each for binder in blind for each in carried_ports(self._parts, binder, ports))
        except IsthmusError as error:
            log.warning("what the parent of this host carries is not known now: %s", error.message)
            return None

    def _unlimited(self) -> list[Key]:
        found = []
        for row in self._parts.attachments.list_all():
            if row.attachment.wish.bandwidth is None or row.attachment.state is not State.PLUGGED:
                continue
            try:
                if missing_limits(row.attachment):
                    found.append(row.key)
            except (BindingUnavailable, NamespaceGone) as error:
                log.info("the bandwidth of %s cannot be looked at: %s", row.key.id, error.message)
        return found

    def _limit(self, repair: Repair) -> bool:
        with self._parts.locks.hold(repair.key, time.monotonic() + _SOON):
            row = self._row(repair, State.PLUGGED)
            if row is None or not missing_limits(row.attachment):
                return False
            apply_limits(row.attachment)
            return True

    def _ports_of(self, project: str) -> Mapping[str, Port]:
        neutron = self._parts.neutron(project)
        found = {port.id: port for port in neutron.ports(tags=host_tag(self._parts.host))}
        rows = self._parts.attachments.list_all()
        others = {row.attachment.port.id for row in rows if row.project == project and row.attachment.port} - set(found)
        if others:
            # Borrowed ports carry no tag of ours; and a port just made is not in an older list.
            found |= {port.id: replace(port, tags=frozenset()) for port in neutron.ports(id=sorted(others))}
        return found

    def _row(self, repair: Repair, *states: State) -> Row | None:
        row = self._parts.attachments.find(repair.key) if repair.key else None
        return row if row is not None and (not states or row.attachment.state in states) else None

    def _forget(self, repair: Repair) -> bool:
        with self._parts.locks.hold(repair.key, time.monotonic() + _SOON):
            row = self._row(repair, State.RESERVING)
            return row is not None and self._parts.attachments.delete(row.key)

    def _finish_release(self, repair: Repair) -> bool:
        with self._parts.locks.hold(repair.key, time.monotonic() + _SOON):
            row = self._row(repair, State.RELEASING)
            if row is not None:
                release_row(self._parts, row, self._parts.deadline(None))
            return row is not None

    def _undo_plug(self, repair: Repair) -> bool:
        with self._parts.locks.hold(repair.key, time.monotonic() + _SOON):
            row = self._row(repair, State.PLUGGING, State.UNPLUGGING)
            if row is not None:
                unplug_row(self._parts, row, self._parts.deadline(None))
            return row is not None

    def _mend(self, repair: Repair) -> bool:
        with self._parts.locks.hold(repair.key, time.monotonic() + _SOON):
            row = self._row(repair, State.PLUGGED)
            found = row.attachment if row else None
            if row is None or found is None or not (found.port and found.network and found.target):
                return False
            wanted = interface_configuration(found.port, found.network, default_route=found.target.default_route)
            with self._parts.binding(row.binder, found.port.id, self._parts.deadline(None)) as binder:
                mended = binder.mend(found.port, found.target, wanted)
            if mended:
                self._parts.attachments.set_problem(row.key, None)
                return True
            return self._plug_again(row)

    def _plug_again(self, row: Row) -> bool:
        target = row.attachment.target
        why = f"{row.attachment.far_interface} is gone; restart what is attached"
        if target is not None and target.kind in {TargetKind.NETNS, TargetKind.INTERFACE}:
            try:
                plug_row(self._parts, row, target, self._parts.deadline(None))
            except NamespaceGone as error:
                # Plugging again moved it to reserved; whoever made the namespace will say that it is gone.
                why = error.message
            else:
                return True
        if row.attachment.problem != why:
            self._parts.attachments.set_problem(row.key, why)
            log.warning("%s: %s", row.key.id, why)
        return False

    def _mark(self, repair: Repair) -> bool:
        row = self._row(repair)
        port = row.attachment.port if row else None
        if row is None or port is None:
            return False
        try:
            self._parts.neutron(row.project).port(port.id)
        except NotFound:
            self._parts.attachments.set_problem(row.key, repair.why)
            return True
        return False

    def _unmark(self, repair: Repair) -> bool:
        row = self._row(repair, State.PLUGGED, State.RESERVED)
        if row is not None:
            self._parts.attachments.set_problem(row.key, None)
        return row is not None

    def _remove_stray(self, repair: Repair) -> bool:
        with self._parts.binding(repair.binder, repair.port_id, time.monotonic() + _SOON) as binder:
            if any(port_id.startswith(repair.port_id) for port_id in self._parts.spares.known_ports()):
                return False
            binder.unplug(repair.port_id, None, self._parts.deadline(None))
            return True

    def _delete_orphan(self, repair: Repair) -> bool:
        if repair.port_id in self._parts.spares.known_ports():
            return False
        self._parts.neutron(repair.project).delete("ports", repair.port_id)
        return True

    def _forget_spare(self, repair: Repair) -> bool:
        try:
            self._parts.neutron(repair.project).port(repair.port_id)  # it may be younger than the list
        except NotFound:
            # Doomed, it is unplugged and deleted by the chores; Neutron's "not found" is then success.
            return self._parts.spares.doom(repair.port_id)
        return False

    def _prepare_again(self, repair: Repair) -> bool:
        return self._parts.spares.unprepared(repair.port_id)
