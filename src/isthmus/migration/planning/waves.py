"""What a wave does next, decided from how its members stand.

Groups follow one another. A group with an automatic gate begins when all before it is COMPLETED; one with a manual gate
when somebody has approved it, also past failures: who approves has seen them. Within a group up to `limit` members are
in flight. A member's failure stops no other member; it keeps the next automatic gate shut.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from isthmus.migration.model import IN_FLIGHT, MEMBER_ENDED, Gate, MemberStatus, WaveStatus


@dataclass(frozen=True)
class Member:
    """A transfer in a wave."""

    id: str
    status: MemberStatus


@dataclass(frozen=True)
class Group:
    """Members that may run side by side."""

    id: str
    members: tuple[Member, ...]
    gate: Gate = Gate.AUTO
    approved: bool = False

    @property
    def ended(self) -> bool:
        """Whether none of its members has anything left to do."""
        return all(member.status in MEMBER_ENDED for member in self.members)

    @property
    def outcome(self) -> WaveStatus:
        """How an ended group ended."""
        completed = all(member.status is MemberStatus.COMPLETED for member in self.members)
        return WaveStatus.COMPLETED if completed else WaveStatus.ERROR


@dataclass(frozen=True)
class Wave:
    """A wave as it stands. `waits` says why it must not begin yet; empty: it may."""

    status: WaveStatus
    limit: int
    groups: tuple[Group, ...]
    waits: str = ""


@dataclass(frozen=True)
class Next:
    """What to do: new statuses of the wave and of its groups by id, members to begin and to stop."""

    status: WaveStatus
    groups: Mapping[str, WaveStatus] = field(default_factory=dict)
    begin: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    message: str = ""


def decide(wave: Wave) -> Next:
    """Return what a wave that is under way does next."""
    if wave.status is WaveStatus.CANCELLING:
        return _cancelled(wave)
    if wave.status is WaveStatus.SCHEDULED and wave.waits:
        return Next(WaveStatus.SCHEDULED, message=wave.waits)
    groups: dict[str, WaveStatus] = {}
    for group in wave.groups:
        if not group.ended:
            return _at(wave, group, groups)
        groups[group.id] = group.outcome
    failed = sum(member.status is not MemberStatus.COMPLETED for group in wave.groups for member in group.members)
    if failed:
        return Next(WaveStatus.ERROR, groups, message=f"{failed} did not complete: retry takes up those alone")
    return Next(WaveStatus.COMPLETED, groups)


def _at(wave: Wave, group: Group, before: Mapping[str, WaveStatus]) -> Next:
    """Return what to do where the groups `before` this one have ended and it has not."""
    if group.gate is Gate.MANUAL and not group.approved:
        groups = {**before, group.id: WaveStatus.AWAITING_APPROVAL}
        return Next(WaveStatus.AWAITING_APPROVAL, groups, message="the next group waits for its approval")
    failed = any(outcome is not WaveStatus.COMPLETED for outcome in before.values())
    if failed and group.gate is Gate.AUTO and not _has_begun(group):
        return Next(WaveStatus.ERROR, before, message="the groups before the next one are not COMPLETED: retry")
    return Next(WaveStatus.RUNNING, {**before, group.id: WaveStatus.RUNNING}, begin=_to_begin(wave, group))


def _has_begun(group: Group) -> bool:
    return any(member.status is not MemberStatus.PENDING for member in group.members)


def _to_begin(wave: Wave, group: Group) -> tuple[str, ...]:
    in_flight = sum(member.status in IN_FLIGHT for each in wave.groups for member in each.members)
    waiting = [member.id for member in group.members if member.status is MemberStatus.PENDING]
    return tuple(waiting[: max(0, wave.limit - in_flight)])


def _cancelled(wave: Wave) -> Next:
    in_flight = tuple(m.id for group in wave.groups for m in group.members if m.status in IN_FLIGHT)
    if in_flight:
        return Next(WaveStatus.CANCELLING, stop=in_flight, message="what is in flight is being undone")
    groups = {
        group.id: WaveStatus.COMPLETED if group.ended and group.outcome is WaveStatus.COMPLETED else WaveStatus.CANCELED
        for group in wave.groups
    }
    return Next(WaveStatus.CANCELED, groups)


def cycle_in(after: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return waves that wait for each other in a circle, the first one again at the end; empty if there are none."""
    done: set[str] = set()
    for first in after:
        path, open_, branches = [first], {first}, [list(after.get(first, ()))]
        while path:
            if not branches[-1]:
                open_.discard(path[-1])
                done.add(path.pop())
                branches.pop()
                continue
            earlier = branches[-1].pop()
            if earlier in open_:
                return (*path[path.index(earlier) :], earlier)
            if earlier not in done:
                path.append(earlier)
                open_.add(earlier)
                branches.append(list(after.get(earlier, ())))
    return ()
