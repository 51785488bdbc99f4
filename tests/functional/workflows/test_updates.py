"""Updates of a transfer with a real conductor and worker: tried at both ends first, and then true."""

from typing import Any

from lab.cloud_files import set_up
from lab.engine_room import EngineRoom, Move

from isthmus.migration.model import ExecutionType
from isthmus.migration.tables import TransferRow


def _update(move: Move, **requested: Any) -> str:
    return move.begin(ExecutionType.TRANSFER_UPDATE, requested=requested)


def _transfer(room: EngineRoom, move: Move) -> TransferRow:
    with room.database.transaction() as session:
        return session.get_one(TransferRow, move.id)


def test_new_values_that_fit_become_the_transfers(room: EngineRoom) -> None:
    move = room.move()
    run = move.ended(_update(move, notes="new", network_map={"lan": "lan", "dmz": "lan"}))
    assert run.status == "COMPLETED", [task.exception_details for task in run.tasks]
    assert [task.task_type for task in run.tasks] == [
        "GET_INSTANCE_INFO",
        "UPDATE_SOURCE_TRANSFER",
        "UPDATE_DESTINATION_TRANSFER",
    ]
    row = _transfer(room, move)
    assert (row.notes, row.network_map) == ("new", {"lan": "lan", "dmz": "lan"})
    assert row.last_execution_status == "COMPLETED"


def test_new_values_that_do_not_fit_change_nothing_and_say_why(room: EngineRoom) -> None:
    move = room.move()
    run = move.ended(_update(move, network_map={"lan": "atlantis"}))
    assert run.status == "ERROR"
    assert "atlantis" in str(move.task(run.id, "UPDATE_DESTINATION_TRANSFER").exception_details)
    assert _transfer(room, move).network_map == {"lan": "lan"}


def test_a_replica_goes_on_from_where_it_was_after_an_update(room: EngineRoom) -> None:
    move = room.move()
    assert move.ended(move.begin()).status == "COMPLETED"
    before = move.info()
    assert move.ended(_update(move, notes="new")).status == "COMPLETED"
    after = move.info()
    assert (after["point"], after["disks"], after["generation"]) == (
        before["point"],
        before["disks"],
        before["generation"],
    )
    assert move.ended(move.begin()).status == "COMPLETED"
    assert move.same_disks()


def test_a_replica_is_not_left_behind_on_another_storage(room: EngineRoom) -> None:
    move = room.move()
    assert move.ended(move.begin()).status == "COMPLETED"
    set_up(move.destination, storages=["other"])
    run = move.ended(_update(move, storage_mappings={"default": "other"}))
    assert run.status == "ERROR"
    assert "cannot move to 'other'" in str(move.task(run.id, "UPDATE_DESTINATION_TRANSFER").exception_details)
    assert _transfer(room, move).storage_mappings == {}
