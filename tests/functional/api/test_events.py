"""Live events: over a real server, and their content."""

import http.client
import json
import signal
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from tests.functional.api.parts import Api, assert_fault
from tests.functional.api.test_server import serving

from isthmus.control.database import Database, utc_now
from isthmus.migration.tables import ExecutionRow, TaskEventRow, TaskProgressRow, TaskRow, TransferRow


class Reader:
    """One client of a stream."""

    def __init__(self, port: int, path: str = "/v1/p1/events", last: str | None = None) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.request("GET", path, headers={"Last-Event-ID": last} if last else {})
        self.answer = self.connection.getresponse()
        self.last = last

    def close(self) -> None:
        self.connection.close()

    def event(self) -> tuple[str, dict[str, Any]] | None:
        """Wait for the next event; None when the stream has ended."""
        found: dict[str, str] = {}
        while line := self.answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if not line.strip() and "data" in found:
                self.last = found["id"]
                return found["event"], json.loads(found["data"])
            found[name] = value
        return None

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        while (found := self.event()) is not None:
            yield found


@contextmanager
def reading(port: int, path: str = "/v1/p1/events", last: str | None = None) -> Iterator[Reader]:
    with closing(Reader(port, path, last)) as reader:
        yield reader


def add_execution(database: Database, project: str = "p1", status: str = "RUNNING") -> str:
    """Write a transfer with an execution and one running step with a message and progress."""
    made, now = str(uuid.uuid4()), utc_now()
    rows: list[Any] = [
        ExecutionRow(
            id=made,
            action_id=f"{made[:30]}-of",
            project_id=project,
            type="transfer_execution",
            status=status,
            number=1,
            created_at=now,
            tasks=[],
        ),
        TaskRow(
            id=f"{made[:30]}-task",
            execution_id=made,
            instance="web",
            status="RUNNING",
            task_type="REPLICATE_DISKS",
            index=0,
            created_at=now,
            updated_at=now,
        ),
        TaskEventRow(
            id=f"{made[:30]}-said", task_id=f"{made[:30]}-task", level="INFO", message="hello", index=0, created_at=now
        ),
        TaskProgressRow(
            id=f"{made[:30]}-far",
            task_id=f"{made[:30]}-task",
            index=0,
            current_step=1,
            total_steps=10,
            message="disk vda: under way",
            created_at=now,
        ),
    ]
    with database.transaction() as session:
        for row in rows:
            session.add(row)
            session.flush()
    return made


def end_execution(database: Database, execution_id: str) -> None:
    now = utc_now()
    with database.transaction() as session:
        session.execute(
            update(TaskRow).where(TaskRow.execution_id == execution_id).values(status="COMPLETED", updated_at=now)
        )
        session.execute(
            update(ExecutionRow).where(ExecutionRow.id == execution_id).values(status="COMPLETED", updated_at=now)
        )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path}/isthmus.sqlite")
    yield made
    made.close()


def test_changes_come_as_they_are_made(tmp_path: Path, database: Database) -> None:
    with serving(tmp_path) as (_, port), reading(port) as reader:
        assert reader.answer.getheader("Content-Type", "").startswith("text/event-stream")
        assert reader.answer.getheader("X-Compute-Request-Id", "").startswith("req-")
        run = add_execution(database)
        found = [reader.event() for _ in range(4)]
        assert [each[0] for each in found if each] == ["execution", "task", "message", "progress"]
        assert found[0] is not None
        assert found[3] is not None
        assert (found[0][1]["id"], found[0][1]["status"]) == (run, "RUNNING")
        assert found[3][1]["current_step"] == 1
        with database.transaction() as session:
            session.execute(update(TaskProgressRow).values(current_step=7))
        again = reader.event()
        assert again is not None
        assert (again[0], again[1]["current_step"]) == ("progress", 7)
        end_execution(database, run)
        assert {(kind, data["status"]) for kind, data in (reader.event(), reader.event())} == {  # type: ignore[misc]
            ("execution", "COMPLETED"),
            ("task", "COMPLETED"),
        }


def test_many_readers_leave_all_threads_to_others(tmp_path: Path, database: Database) -> None:
    with serving(tmp_path, "threads = 2\nstreams = 400") as (process, port):
        readers = [Reader(port) for _ in range(50)]
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        for _ in range(4):
            connection.request("GET", "/v1/p1/transfers")
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()
        run = add_execution(database)
        for reader in readers:
            found = reader.event()
            assert found is not None
            assert found[1]["id"] == run
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        for reader in readers:
            list(reader.events())
            reader.close()


def test_who_comes_back_hears_of_what_was_missed(tmp_path: Path, database: Database) -> None:
    with serving(tmp_path) as (_, port):
        with reading(port) as reader:
            run = add_execution(database)
            assert reader.event() is not None
            last = reader.last
        end_execution(database, run)
        with reading(port, last=last) as reader:
            missed = dict([reader.event(), reader.event()])  # type: ignore[list-item]
            assert missed["execution"]["status"] == missed["task"]["status"] == "COMPLETED"
        with reading(port, last="0") as reader:
            assert reader.event() is not None


def test_a_stream_of_one_execution_ends_with_it(tmp_path: Path, database: Database) -> None:
    with serving(tmp_path) as (_, port):
        run = add_execution(database)
        with database.transaction() as session:
            action = session.scalars(select(ExecutionRow.action_id).where(ExecutionRow.id == run)).one()
        path = f"/v1/p1/transfers/{action}/executions/{run}/events"
        with reading(port, path) as reader:
            assert [reader.event()[0] for _ in range(4)] == ["execution", "task", "message", "progress"]  # type: ignore[index]
            end_execution(database, run)
            kinds = [kind for kind, _ in reader.events()]
            assert kinds[-1] == "end"
        with reading(port, path) as reader:
            assert [kind for kind, _ in reader.events()][-1] == "end"


def test_a_stream_ends_by_itself_and_gives_its_place_back(tmp_path: Path) -> None:
    with serving(tmp_path, "streams = 4\nstream_seconds = 5") as (_, port):
        with reading(port) as first:
            with reading(port) as second:
                assert second.answer.status == 503
                assert "too many event streams" in json.loads(second.answer.read())["error"]["message"]
            with reading(port, "/v1/p2/events") as other:
                assert other.answer.status == 200
            assert list(first.events()) == []
        with reading(port) as third:
            assert third.answer.status == 200


def test_another_project_hears_nothing(api: Api) -> None:
    run = add_execution(api.database, project="p2")
    assert run not in api.call("GET", "/events").text
    assert run in api.call("GET", "/events", project="p2").text
    path = f"/transfers/{run[:30]}-of/executions/{run}/events"
    assert_fault(api.call("GET", path), 404, "itemNotFound", run)
    assert api.call("GET", path, project="p2").status_code == 200


@pytest.mark.parametrize("last", ["x", "-1", "9" * 30, "1.5", "²"])
def test_an_id_that_is_none_is_refused(api: Api, last: str) -> None:
    answer = api.call("GET", "/events", headers={"Last-Event-ID": last.encode().decode("latin-1")})
    assert_fault(answer, 400, "badRequest", "Last-Event-ID")


def test_what_changed_long_ago_is_not_told_again(api: Api) -> None:
    run = add_execution(api.database, status="COMPLETED")
    old = utc_now() - timedelta(hours=2)
    with api.database.transaction() as session:
        session.execute(update(ExecutionRow).values(created_at=old, updated_at=old))
    assert run not in api.call("GET", "/events", headers={"Last-Event-ID": "0"}).text


def test_waves_and_minion_pools_are_told_too(api: Api) -> None:
    transfers = [api.transfer()["id"] for _ in range(3)]
    body = {"name": "night", "groups": [{"name": "all", "members": [{"transfer_id": each} for each in transfers]}]}
    wave = api.call("POST", "/waves", {"wave": body}).json["wave"]["id"]
    quiet = api.call("GET", "/events").text
    assert wave not in quiet  # it waits to be started
    assert api.call("POST", f"/waves/{wave}/actions", {"start": None}).status_code == 200
    endpoint = api.endpoint("east")["id"]
    pool = {"name": "p", "endpoint_id": endpoint, "os_type": "linux", "platform": "source", "maximum_minions": 3}
    made = api.call("POST", "/minion_pools", {"minion_pool": pool}).json["minion_pool"]["id"]
    told = {}
    for block in api.call("GET", "/events", headers={"Last-Event-ID": "0"}).text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields and fields.get("event") in {"wave", "minion_pool"}:
            told[fields["event"]] = json.loads(fields["data"])
    assert (told["wave"]["id"], told["wave"]["name"], told["wave"]["members"]) == (wave, "night", {"PENDING": 3})
    assert told["minion_pool"]["id"] == made
    assert api.call("GET", "/events", project="p2").text.count("wave") == 0


def test_a_deployment_has_its_own(api: Api) -> None:
    transfer = api.transfer()
    api.execution(transfer["id"])
    api.finish(transfer["id"])
    made = api.call("POST", "/deployments", {"deployment": {"transfer_id": transfer["id"]}}).json["deployment"]
    text = api.call("GET", f"/deployments/{made['id']}/events").text
    assert made["id"] in text
    assert transfer["id"] not in text
    with api.database.transaction() as session:
        assert session.scalars(select(TransferRow.id)).all() == [transfer["id"]]
    assert_fault(api.call("GET", "/deployments/none/events"), 404, "itemNotFound", "none")
