"""Pure: what the store says and what is there -> what to mend.

Three truths are compared: the store (what should be), Neutron's ports of this host, and the interfaces on it. What
could not be observed (None) is not judged. Whoever carries a repair out looks again first, with the lock held.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from isthmus.networking.model import Fate, Key, Port, Row, SparePort, State, TargetKind


class RepairKind(StrEnum):
    """What is to be done."""

    FORGET = "forget"  # reserved by nobody any more: no port was written down
    FINISH_RELEASE = "finish-release"
    UNDO_PLUG = "undo-plug"  # half plugged or half unplugged: reserved again
    MEND = "mend"  # plugged, and its connection or interface is lost
    LIMIT = "limit"  # plugged, and its limits of bandwidth are lost
    MARK = "mark"  # cannot be mended: say so
    UNMARK = "unmark"
    REMOVE_STRAY = "remove-stray"  # an interface of no attachment
    DELETE_ORPHAN = "delete-orphan"  # a port of ours in Neutron of no attachment
    FORGET_SPARE = "forget-spare"  # a spare port that Neutron has not any more
    PREPARE_AGAIN = "prepare-again"  # a warm port whose interface is lost


@dataclass(frozen=True)
class Repair:
    """One repair: of an attachment (`key`), else of a port; `why` is a sentence for logs and for whoever asks."""

    kind: RepairKind
    why: str
    key: Key | None = None
    port_id: str = ""
    binder: str = ""
    project: str = ""


@dataclass(frozen=True)
class Interface:
    """An interface as a binder sees it."""

    binder: str
    far: str
    port_id: str
    in_use: bool
    connected: bool


@dataclass(frozen=True)
class Observed:
    """What is there. `ports` are Neutron's by project, None where Neutron was silent; each with its port's id.

    `interfaces` are by binder, None where the binder was silent. `settling` are keys in motion and tags of creations
    under way: left alone. `blind` are the binders that do not see into containers; `carried` are the ports that their
    parents carry in Neutron, None where that is not known. `unlimited` are the keys whose limits of bandwidth are not
    there.
    """

    ports: Mapping[str, Mapping[str, Port] | None]
    interfaces: Mapping[str, Sequence[Interface] | None]
    settling_keys: Collection[Key] = ()
    settling_tags: Collection[str] = ()
    blind: Collection[str] = ()
    carried: Collection[str] | None = ()
    unlimited: Collection[Key] = ()


def plan_repairs(rows: Sequence[Row], spares: Sequence[SparePort], observed: Observed) -> tuple[Repair, ...]:
    """Return the repairs, those of attachments first."""
    repairs: list[Repair] = []
    for row in rows:
        if row.key not in observed.settling_keys:
            repairs += _of_attachment(row, observed)
    repairs += [repair for spare in spares for repair in _of_spare(spare, observed)]
    known = {row.attachment.port.id for row in rows if row.attachment.port} | {spare.port.id for spare in spares}
    return (*repairs, *_strays(known, observed), *_orphans(known, observed))


_LEFT: Mapping[State, tuple[RepairKind, str]] = {
    State.RESERVING: (RepairKind.FORGET, "was never reserved to the end"),
    State.RELEASING: (RepairKind.FINISH_RELEASE, "was not released to the end"),
    State.PLUGGING: (RepairKind.UNDO_PLUG, "was left half plugged"),
    State.UNPLUGGING: (RepairKind.UNDO_PLUG, "was left half unplugged"),
}


def _of_attachment(row: Row, observed: Observed) -> list[Repair]:
    found = row.attachment
    if found.state in _LEFT:
        kind, what = _LEFT[found.state]
        return [Repair(kind, f"{row.key.id} {what}", row.key)]
    if found.port is None:
        return []
    ports = observed.ports.get(row.project)
    if ports is not None and found.port.id not in ports:
        why = f"somebody deleted port {found.port.id} from Neutron; detach and attach again"
        return [] if found.problem == why else [Repair(RepairKind.MARK, why, row.key)]
    lost = _lost(row, observed) if found.state is State.PLUGGED else None
    if lost is not None:
        kind, what = lost
        return [Repair(kind, f"{found.far_interface} of {row.key.id} {what}", row.key)]
    if found.problem and ports is not None:
        return [Repair(RepairKind.UNMARK, f"{row.key.id} is well again", row.key)]
    return []


def _lost(row: Row, observed: Observed) -> tuple[RepairKind, str] | None:
    if _is_broken(row, observed):
        return RepairKind.MEND, "is not connected"
    return (RepairKind.LIMIT, "lost its limits of bandwidth") if row.key in observed.unlimited else None


def _is_broken(row: Row, observed: Observed) -> bool:
    interfaces = observed.interfaces.get(row.binder)
    port = row.attachment.port
    if interfaces is None or port is None or row.binder in observed.blind:
        return False
    mine = [each for each in interfaces if port.id.startswith(each.port_id)]
    target = row.attachment.target
    inside = target is not None and target.kind in {TargetKind.NETNS, TargetKind.TAP}
    return not any(each.connected and (each.in_use or not inside) for each in mine)


def _of_spare(spare: SparePort, observed: Observed) -> list[Repair]:
    ports = observed.ports.get(spare.project)
    if spare.fate is not Fate.WARM:
        return []
    if ports is not None and spare.port.id not in ports:
        why = f"warm port {spare.port.id} is gone from Neutron"
        return [Repair(RepairKind.FORGET_SPARE, why, port_id=spare.port.id, binder=spare.binder, project=spare.project)]
    interfaces = observed.interfaces.get(spare.binder)
    if not spare.prepared or interfaces is None:
        return []
    if any(each.connected and spare.port.id.startswith(each.port_id) for each in interfaces):
        return []
    why = f"the interface of warm port {spare.port.id} is gone"
    return [Repair(RepairKind.PREPARE_AGAIN, why, port_id=spare.port.id, binder=spare.binder)]


def _strays(known: Collection[str], observed: Observed) -> list[Repair]:
    """Interfaces of no attachment; one that somebody uses is left, since then the store was lost, not the container."""
    return [
        Repair(
            RepairKind.REMOVE_STRAY,
            f"interface {each.far} is of no attachment",
            port_id=each.port_id,
            binder=each.binder,
        )
        for interfaces in observed.interfaces.values()
        for each in interfaces or ()
        if not each.in_use and not any(port_id.startswith(each.port_id) for port_id in known)
    ]


def _orphans(known: Collection[str], observed: Observed) -> list[Repair]:
    if observed.carried is None or any(interfaces is None for interfaces in observed.interfaces.values()):
        return []  # a port might be in use
    used = {each.port_id for interfaces in observed.interfaces.values() for each in interfaces or () if each.in_use}
    used |= set(observed.carried)
    return [
        Repair(RepairKind.DELETE_ORPHAN, f"port {port.id} is of no attachment", port_id=port.id, project=project)
        for project, ports in observed.ports.items()
        for port in (ports or {}).values()
        if port.id not in known
        and not port.tags & frozenset(observed.settling_tags)
        and not any(port.id.startswith(each) for each in used)
    ]
