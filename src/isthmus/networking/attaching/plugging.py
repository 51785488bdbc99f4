"""Plugging and unplugging one attachment, each move written down before the act; the key's lock is held."""

import logging
from dataclasses import replace

from isthmus.control.errors import Conflict, IsthmusError
from isthmus.networking.attaching.limiting import apply_limits
from isthmus.networking.attaching.nesting import join_parent
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.binding.contract import Plugged
from isthmus.networking.model import Attachment, Row, State, Target
from isthmus.networking.neutron.time_left import within
from isthmus.networking.planning.interface import interface_configuration

log = logging.getLogger(__name__)


def plug_row(parts: Parts, row: Row, target: Target, deadline: float) -> Attachment:
    """Plug an attachment's port into a target; on an error it is reserved again."""
    found = row.attachment
    if found.state is State.PLUGGED and found.target != target:
        raise Conflict(f"{row.key.id} is plugged into {_place(found.target)}; unplug it there first")
    if not parts.attachments.aim(row.key, target):
        raise Conflict(f"{row.key.id} is {found.state}; try again when that has ended")
    try:
        plugged = _plug(parts, found, row.binder, target, deadline)
        done = replace(
            found,
            state=State.PLUGGED,
            target=target,
            far_interface=plugged.far_interface,
            near_interface=plugged.near_interface,
            problem=None,
        )
        apply_limits(done)
    except IsthmusError:
        _withdraw(parts, row, target, deadline)
        raise
    parts.attachments.plugged(row.key, plugged.far_interface, plugged.near_interface)
    return done


def unplug_row(parts: Parts, row: Row, deadline: float) -> None:
    """Take an attachment's interface away; its port stays reserved."""
    found = row.attachment
    if found.port is None or not parts.attachments.move(
        row.key, (State.PLUGGING, State.PLUGGED, State.UNPLUGGING), State.UNPLUGGING
    ):
        return
    with parts.binding(row.binder, found.port.id, deadline) as binder:
        binder.unplug(found.port.id, found.target, deadline)
    parts.attachments.unplugged(row.key)


def _plug(parts: Parts, found: Attachment, binder: str, target: Target, deadline: float) -> Plugged:
    if found.port is None or found.network is None:
        raise Conflict(f"{found.wish.key.id} has no port yet; try again")
    wanted = interface_configuration(found.port, found.network, default_route=target.default_route)
    with parts.binding(binder, found.port.id, deadline) as plugger:
        with within(deadline):
            port = join_parent(parts, plugger, found.port)
        if port != found.port:
            parts.attachments.note_port(port)
        return plugger.plug(port, target, wanted, deadline)


def _withdraw(parts: Parts, row: Row, target: Target, deadline: float) -> None:
    aimed = replace(row, attachment=replace(row.attachment, target=target, state=State.PLUGGING))
    try:
        unplug_row(parts, aimed, deadline)
    except IsthmusError as error:
        log.warning("%s is left to the repairs: %s", row.key.id, error.message)


def _place(target: Target | None) -> str:
    if target is None:
        return "nothing"
    return f"{target.kind} {target.interface} {target.netns or ''}".strip()
