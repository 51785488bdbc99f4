"""Whose leases a manager may free: those of processes beside it that are no more, and nobody else's."""

import subprocess
import sys

from isthmus.shares.services.manager import _is_dead, owner_of

SAY = "from isthmus.shares.services.manager import owner_of; print(owner_of('machine'))"


def owner_of_another(*before: str) -> str:
    """Return the name in leases of a process that has ended by now."""
    return subprocess.run(
        [*before, sys.executable, "-c", SAY], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_process_that_is_no_more_is_dead() -> None:
    owner = owner_of_another()
    assert _is_dead(owner, "machine")
    assert not _is_dead(owner, "another")


def test_a_process_that_lives_is_not_dead() -> None:
    assert not _is_dead(owner_of("machine"), "machine")


def test_who_got_a_dead_ones_process_id_is_not_it() -> None:
    assert _is_dead(f"{owner_of('machine').rpartition('/')[0]}/1.00", "machine")


def test_of_a_process_in_another_container_nothing_is_known() -> None:
    owner = owner_of_another("unshare", "--pid", "--fork", "--mount-proc")
    assert not _is_dead(owner, "machine")


def test_of_a_process_on_another_machine_of_the_same_host_nothing_is_known() -> None:
    machine, ids, process, began = owner_of_another().split("/")
    other = f"{'0' * 36}{ids[36:]}"
    assert not _is_dead(f"{machine}/{other}/{process}/{began}", "machine")
