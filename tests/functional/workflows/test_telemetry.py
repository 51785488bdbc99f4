"""One trace through API, outbox, engine and worker, and what each service shows of its work."""

import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from lab.collector import Collector, Span, free_port
from lab.engine_room import PROJECT, EngineRoom
from tests.functional.api.test_telemetry import look


@dataclass(frozen=True)
class Watched:
    """An engine room with an API, all of whose traces go to the collector."""

    room: EngineRoom
    collector: Collector
    api: int


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    port = free_port()
    with Collector() as collector:
        options = (
            f"[api]\nhost = 127.0.0.1\nport = {port}\nauth_strategy = noauth\n"
            f"[telemetry]\notlp_endpoint = {collector.address}\n"
        )
        with EngineRoom(options) as room:
            room.start("api")
            yield Watched(room, collector, port)


def call(port: int, path: str, body: object) -> dict[str, dict[str, str]]:
    url = f"http://127.0.0.1:{port}/v1/{PROJECT}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, dict[str, str]] = json.loads(answer.read())
        return found


def test_one_trace_goes_from_the_call_to_the_last_step(watched: Watched) -> None:
    move = watched.room.move()
    run = call(watched.api, f"/transfers/{move.id}/executions", {"execution": {}})["execution"]["id"]
    assert move.ended(run).status == "COMPLETED"

    def trace() -> list[Span]:
        calls = [span for span in watched.collector.spans if span.name == "POST API"]
        return [span for span in watched.collector.spans if calls and span.trace == calls[-1].trace]

    wanted = {
        ("isthmus-api", "POST API"),
        ("isthmus-conductor", "StartWorkflow:TransferExecution"),
        ("isthmus-conductor", "RunWorkflow:TransferExecution"),
        ("isthmus-conductor", "RunActivity:begin_execution"),
        ("isthmus-worker", "RunActivity:run_step"),
    }
    steps = len([task for task in move.execution(run).tasks if task.status == "COMPLETED"])

    def whole() -> bool:
        names = [(span.service, span.name) for span in trace()]
        return wanted <= set(names) and names.count(("isthmus-worker", "RunActivity:run_step")) == steps

    watched.room.wait(whole, "whole trace")
    found = trace()
    begun = next(span for span in found if span.name == "StartWorkflow:TransferExecution")
    assert begun.parent == next(span.id for span in found if span.name == "POST API")
    # The clouds' password, and the machine's name.
    text = "".join(span.text for span in watched.collector.spans)
    assert "swordfish" not in text
    assert "machine0" not in text


def test_a_collector_that_is_away_costs_no_work(watched: Watched) -> None:
    watched.collector.close()
    move = watched.room.move()
    run = call(watched.api, f"/transfers/{move.id}/executions", {"execution": {}})["execution"]["id"]
    assert move.ended(run).status == "COMPLETED"


def test_conductor_and_worker_show_what_they_do(watched: Watched) -> None:
    room, ports = watched.room, {"conductor": free_port(), "worker": free_port()}
    for name, port in ports.items():
        room.stop(name)
        room.start(name, f"[telemetry]\nmetrics_port = {port}\n")
    move = room.move()
    assert move.ended(move.begin()).status == "COMPLETED"
    steps = look(ports["worker"])
    assert steps['isthmus_steps_total{name="REPLICATE_DISKS",outcome="ok"}'] == 1
    assert steps["isthmus_steps_running"] == 0
    assert look(ports["conductor"])["isthmus_database_up"] == 1
