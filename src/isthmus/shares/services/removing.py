"""How a share or a snapshot is taken from its back end: clients are shut out first, then it goes.

Shutting out may fail and the removal succeed: a driver removes the rules with what they are for, and on the second try
after a crash what clients are to be shut out of is gone already.
"""

import logging
from collections.abc import Callable

from isthmus.control.errors import IsthmusError
from isthmus.shares.drivers.facts import AccessChange, ShareFacts, SnapshotFacts
from isthmus.shares.services.work import Work
from isthmus.shares.store import rules, snapshot_rules

log = logging.getLogger(__name__)


def remove_share(work: Work, share: ShareFacts, *, forced: bool) -> None:
    """Have the driver remove a share and its rules; forced, also if it cannot."""
    with work.database.transaction() as session:
        held = tuple(rules.all_of(session, share.instance_id))
    if held:
        change = AccessChange(wanted=(), removed=held)
        shut_out(lambda: work.driver.update_access(share, change), f"share instance {share.instance_id}", forced)
    _remove(lambda: work.driver.delete_share(share), forced)


def remove_snapshot(work: Work, snapshot: SnapshotFacts, *, forced: bool) -> None:
    """Have the driver remove a snapshot and its rules; forced, also if it cannot."""
    with work.database.transaction() as session:
        held = tuple(snapshot_rules.all_of(session, snapshot.instance_id))
    if held:
        change = AccessChange(wanted=(), removed=held)
        what = f"snapshot instance {snapshot.instance_id}"
        shut_out(lambda: work.driver.update_snapshot_access(snapshot, change), what, forced)
    _remove(lambda: work.driver.delete_snapshot(snapshot), forced)


def shut_out(act: Callable[[], object], what: str, forced: bool) -> None:
    """Have a driver take all rules away; that it cannot is only logged, if it is not just silent."""
    try:
        act()
    except IsthmusError as error:
        # A back end that is silent will not remove it either: both are done when it answers.
        if error.retryable and not forced:
            raise
        log.warning("clients could not be shut out of %s, it is removed all the same: %s", what, error.message)


def _remove(act: Callable[[], None], forced: bool) -> None:
    try:
        act()
    except IsthmusError:
        # Forced: an administrator says that the back end is not worth waiting for.
        if not forced:
            raise
