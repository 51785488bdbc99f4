from isthmus.cli.answers import Deployment, Execution, Task
from isthmus.cli.report import build, lines, size


def copied(number: int, reads: str, sent: int, *, stopped: bool = False) -> Execution:
    disk = {"disk_id": "vda", "reads": reads, "bytes_sent": sent, "bytes_read": sent, "bytes_verified": sent}
    result = {"bytes_read": sent, "bytes_sent": sent, "seconds": 2.0, "disks": [disk]}
    tasks = [Task(id=f"c{number}", instance="vm", task_type="REPLICATE_DISKS", status="COMPLETED", result=result)]
    if stopped:
        tasks.append(Task(id=f"s{number}", instance="vm", task_type="SHUTDOWN_INSTANCE", status="COMPLETED"))
    return Execution(id=f"e{number}", number=number, type="transfer_execution", status="COMPLETED", tasks=tasks)


DEPLOYMENT = Deployment(
    id="d1",
    transfer_id="t1",
    instances=["vm"],
    last_execution_status="COMPLETED",
    transfer_result={
        "vm": {
            "machine": {"id": "1", "name": "vm-moved", "details": {}},
            "morphing": {"os": {"product_name": "Debian 12"}, "changes": ["fstab by UUID"], "seconds": 20.0},
            "probe": {"passed": True, "saw": "console line 'ready'", "seconds": 31.5, "console_tail": []},
            "downtime_seconds": 75.25,
        }
    },
)


def test_the_report_counts_full_and_increments_apart() -> None:
    failed = copied(2, "dirty", 999).model_copy(update={"status": "ERROR"})
    passes = [copied(1, "allocation", 1000), failed, copied(3, "dirty", 10), copied(4, "compare", 5, stopped=True)]
    report = build(passes, DEPLOYMENT)
    assert (report.bytes_full, report.bytes_increment, report.bytes_verified) == (1000, 15, 1015)
    assert [each.stopped for each in report.passes] == [False, False, True]
    assert report.bytes_per_second == 1015 / 6
    assert (report.downtime_seconds, report.boot_seconds, report.machine) == (75.25, 31.5, "vm-moved")
    assert report.morphing_changes == ("fstab by UUID",)


def test_the_report_reads_as_lines() -> None:
    shown = lines(build([copied(1, "allocation", 3 * 2**20)], DEPLOYMENT))
    assert shown["bytes moved"] == "3.0 MiB in full, 0 B as increments, 3.0 MiB verified at the destination"
    assert shown["passes"] == "1. full, machine running: 3.0 MiB in 2.0 s (1.5 MiB/s)"
    assert shown["down time"] == "75.2 s"
    assert shown["morphing changed"] == "- fstab by UUID"
    assert shown["probe saw"] == "console line 'ready'"


def test_what_nobody_measured_is_said_to_be_so() -> None:
    shown = lines(build([], DEPLOYMENT.model_copy(update={"transfer_result": None})))
    assert shown["down time"] == "not measured"
    assert shown["probe saw"] == "no probe was asked for"
    assert shown["morphing changed"] == "nothing"


def test_sizes_are_in_binary_units() -> None:
    assert [size(n) for n in (0, 1023, 1024, 5 * 2**30, 2**41)] == ["0 B", "1023 B", "1.0 KiB", "5.0 GiB", "2.0 TiB"]
