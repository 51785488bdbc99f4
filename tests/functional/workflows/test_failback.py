"""Machines come home: only what has changed since they left is sent."""

import json
import os
import uuid
from pathlib import Path

import pytest
from lab.cloud_files import calls, leftovers, set_up
from lab.engine_room import MIB, PROJECT, EngineRoom, Move

from isthmus.control.database import utc_now
from isthmus.control.errors import Conflict
from isthmus.migration.store import failing_back, reading
from isthmus.migration.tables import TransferRow


class _WayHome(Move):
    """The reversed transfer of a move whose machines are deployed."""

    def __init__(self, there: Move) -> None:
        self.room = there.room
        self.source, self.destination = there.destination, there.source
        with there.room.database.transaction() as session:
            transfer = reading.transfer(session, PROJECT, there.id)
            deployment = failing_back.deployed_by(session, transfer, None)
            machines = failing_back.machines_of(deployment, None)
            row = failing_back.reversed_transfer(transfer, machines, {}, row_id=str(uuid.uuid4()), now=utc_now())
            session.add(row)
            self.id, self.instances = row.id, list(row.instances)


def _write(cloud: Path, machine: str, offset: int, size: int) -> None:
    (disk,) = json.loads((cloud / "machines" / f"{machine}.json").read_text())["disks"]
    with (cloud / "disks" / disk["file"]).open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(size))


def _moved(room: EngineRoom) -> Move:
    """Return a move whose machine runs at the destination and has written there since."""
    move = room.move(size=32 * MIB)
    assert move.ended(move.begin(shutdown_instances=True)).status == "COMPLETED"
    assert move.ended(move.begin_deployment()).status == "COMPLETED"
    assert move.power() == "off"
    _write(move.destination, "machine0", 3 * MIB, 4096)
    return move


def test_only_what_has_changed_is_sent_home_and_the_old_machine_stays_as_it_was(room: EngineRoom) -> None:
    move = _moved(room)
    before = (move.source / "disks" / "machine0-disk0.raw").read_bytes()
    home = _WayHome(move)
    run = home.ended(home.begin())
    assert run.status == "COMPLETED", [task.exception_details for task in run.tasks]
    assert 4096 <= home.info()["last_pass"]["bytes_sent"] <= MIB
    (disk,) = home.info()["disks"]
    (machine,) = (move.destination / "machines").iterdir()
    there = move.destination / "disks" / _file_of(machine)
    assert (home.destination / "disks" / disk["volume_id"]).read_bytes() == there.read_bytes()
    assert (move.source / "disks" / "machine0-disk0.raw").read_bytes() == before
    assert calls(home.destination).count("adopt_machine") == 1
    _write(move.destination, "machine0", 9 * MIB, 4096)
    assert home.ended(home.begin()).status == "COMPLETED"
    assert calls(home.destination).count("adopt_machine") == 1
    assert (home.destination / "disks" / disk["volume_id"]).read_bytes() == there.read_bytes()


def test_an_old_machine_that_runs_again_is_not_taken_for_the_state_of_then(room: EngineRoom) -> None:
    move = _moved(room)
    home = _WayHome(move)
    before = leftovers(home.destination)
    path = move.source / "machines" / "machine0.json"
    path.write_text(path.read_text().replace('"off"', '"running"'))
    run = home.ended(home.begin())
    assert run.status == "ERROR"
    assert "stop it first" in str(home.task(run.id, "DEPLOY_TRANSFER_DISKS").exception_details)
    assert leftovers(home.destination) == before


def test_what_the_old_machine_wrote_meanwhile_is_overwritten(room: EngineRoom) -> None:
    move = _moved(room)
    _write(move.source, "machine0", 20 * MIB, 4096)
    home = _WayHome(move)
    assert home.ended(home.begin()).status == "COMPLETED"
    (disk,) = home.info()["disks"]
    (machine,) = (move.destination / "machines").iterdir()
    there = move.destination / "disks" / _file_of(machine)
    assert (home.destination / "disks" / disk["volume_id"]).read_bytes() == there.read_bytes()


def test_a_killed_worker_only_delays_the_way_home(room: EngineRoom) -> None:
    move = _moved(room)
    home = _WayHome(move)
    set_up(home.destination, hold=["adopt_machine"])
    run_id = home.begin()
    home.called(home.destination, "adopt_machine")
    room.kill("worker")
    set_up(home.destination, hold=[])
    room.start("worker")
    assert home.ended(run_id).status == "COMPLETED"
    assert home.info()["last_pass"]["bytes_sent"] <= MIB


def _file_of(machine: Path) -> str:
    return str(json.loads(machine.read_text())["disks"][0]["file"])


def test_without_a_deployment_there_is_no_way_home(room: EngineRoom) -> None:
    move = room.move()
    with room.database.transaction() as session, pytest.raises(Conflict, match="no machine to bring home"):
        failing_back.deployed_by(session, session.get_one(TransferRow, move.id), None)
