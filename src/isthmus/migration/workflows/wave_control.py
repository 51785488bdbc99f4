"""The activity that carries a wave on: see how its members stand, decide, begin and stop some. May be repeated."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session
from temporalio import activity

from isthmus.control.database import Database
from isthmus.control.errors import Conflict, IsthmusError
from isthmus.migration.model import WAVE_ACTIVE, Gate, MemberStatus, WaveStatus
from isthmus.migration.planning.waves import Group, Member, Next, Wave, decide
from isthmus.migration.store import wave_members, waves
from isthmus.migration.tables import WaveRow
from isthmus.migration.workflows.calls import ADVANCE_WAVE, WaveLook
from isthmus.migration.workflows.control import recorded

LONGEST_WAIT_SECONDS = 30.0
"""So often a wave is looked at even if nobody says that something has changed."""

BUSY_WAIT_SECONDS = 3.0
"""So often a transfer is asked that somebody else works on."""

AT_ONCE = 50
"""How many members one look begins; the next look follows at once."""


class WaveActivities:
    """What the conductor offers to waves' workflows. `now` tells UTC without a zone; `new_id` makes ids of new rows."""

    def __init__(
        self, database: Database, now: Callable[[], datetime], new_id: Callable[[], str] = lambda: str(uuid.uuid4())
    ) -> None:
        self._database = database
        self._now = now
        self._new_id = new_id

    @property
    def all(self) -> Sequence[Callable[..., Any]]:
        """The activities to register."""
        return (self.advance_wave,)

    @activity.defn(name=ADVANCE_WAVE)
    @recorded
    def advance_wave(self, argument: dict[str, Any]) -> WaveLook:
        """Do what is to be done now and say when to look again; a workflow that another one replaced has ended."""
        wave_id = str(argument["wave_id"])
        with self._database.transaction() as session:
            now = self._now()
            waves.lock(session, wave_id)
            row = session.get(WaveRow, wave_id)
            if row is None or row.run != argument["run"] or row.status not in WAVE_ACTIVE:
                return WaveLook(row.status if row else WaveStatus.CANCELED, ended=True)
            wave_members.observe(session, row, now)
            decided = decide(_standing(session, row, now))
            _apply(row, decided, now)
            if decided.status not in WAVE_ACTIVE:
                waves.nudge_those_after(session, row, now)
                return WaveLook(decided.status, ended=True)
            wave = (row.project_id, row.id)
            transfers = {member.id: member.transfer_id for member in waves.members(row)}
            wait = _until_start(row, now)
        for member_id in decided.stop:
            self._stop(wave, (transfers[member_id], member_id))
        begun = [self._begin(wave, (transfers[member_id], member_id)) for member_id in decided.begin[:AT_ONCE]]
        if len(decided.begin) > AT_ONCE or MemberStatus.ERROR in begun:
            wait = 0.0
        elif MemberStatus.PENDING in begun:
            wait = min(wait, BUSY_WAIT_SECONDS)
        return WaveLook(decided.status, ended=False, wait_seconds=wait)

    def _begin(self, wave: tuple[str, str], member: tuple[str, str]) -> MemberStatus:
        """Begin a member and return how it stands then: PENDING if its transfer is busy."""
        try:
            with self._database.transaction() as session:
                wave_members.begin(session, wave, member, self._now(), self._new_id)
        except IsthmusError as error:
            status = MemberStatus.PENDING if isinstance(error, Conflict) else MemberStatus.ERROR
            with self._database.transaction() as session:
                waves.lock(session, wave[1])
                wave_members.put_off(session, member[1], status, error, self._now())
            return status
        return MemberStatus.EXECUTING

    def _stop(self, wave: tuple[str, str], member: tuple[str, str]) -> None:
        with self._database.transaction() as session, suppress(IsthmusError):
            # A transfer that is gone, or an execution that has ended just now: the next look sees it.
            wave_members.stop(session, wave, member, self._now())


def _until_start(row: WaveRow, now: datetime) -> float:
    if row.status != WaveStatus.SCHEDULED or row.starts_at is None:
        return LONGEST_WAIT_SECONDS
    return min(LONGEST_WAIT_SECONDS, max(0.0, (row.starts_at - now).total_seconds()))


def _standing(session: Session, row: WaveRow, now: datetime) -> Wave:
    """Return a locked wave as the planner sees it."""
    return Wave(
        status=WaveStatus(row.status),
        limit=row.max_in_flight,
        groups=tuple(
            Group(
                id=group.id,
                members=tuple(Member(each.id, MemberStatus(each.status)) for each in group.members),
                gate=Gate(group.gate),
                approved=group.approved,
            )
            for group in row.groups
        ),
        waits=wave_members.waits_for(session, row, now),
    )


def _apply(row: WaveRow, decided: Next, now: datetime) -> None:
    """Give a locked wave and its groups the statuses that were decided."""
    for group in row.groups:
        group.status = decided.groups.get(group.id, group.status)
    waves.move(row, decided.status, now, decided.message)
