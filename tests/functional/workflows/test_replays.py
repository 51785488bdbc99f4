"""What a conductor has begun another can go on with: today's workflows follow the histories of today's executions."""

from collections import Counter

from lab import histories
from lab.cloud_files import set_up
from lab.engine_room import EngineRoom

from isthmus.control.engine import EngineAddress


def test_histories_are_followed_again(room: EngineRoom) -> None:
    done, failed, cancelled = room.move(machines=2), room.move(), room.move()
    set_up(failed.source, fail={"open_reading": "step-failed"})
    set_up(cancelled.source, hold=["open_reading"])
    held = cancelled.begin()
    assert done.ended(done.begin()).status == "COMPLETED"
    assert done.ended(done.begin_deployment()).status == "COMPLETED"
    assert failed.ended(failed.begin()).status == "ERROR"
    cancelled.running(held, "REPLICATE_DISKS")
    cancelled.cancel(held)
    assert cancelled.ended(held).status == "CANCELED"

    found = histories.ended(EngineAddress.of(room.conf))

    assert histories.complaints(found) == []
    counted = Counter(each.workflow_id.partition("-")[0] for each in found)
    assert counted["execution"] >= 4, counted
