"""Metrics of a real API of several processes, and of a conductor's gauges; where they are shown."""

import re
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from lab.collector import free_port
from tests.functional.api.parts import Api
from tests.functional.api.test_events import add_execution
from tests.functional.api.test_server import serving

from isthmus.migration.services.gauges import Gauges


def look(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        found = re.findall(r"^(isthmus\S+) (\S+)$", answer.read().decode(), re.MULTILINE)
    return {name: float(value) for name, value in found}


def call(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_calls_of_all_processes_are_counted_together_and_survive_one(tmp_path: Path) -> None:
    shown = free_port()
    more = f"processes = 2\n[telemetry]\nmetrics_port = {shown}\n[api]"
    with serving(tmp_path, more) as (process, port):
        for _ in range(10):
            assert call(port, "/v1/p1/transfers") == 200
        assert call(port, "/v1/p1/transfers/secret-name") == 404
        assert call(port, "/share/v2/shares") == 200
        first = look(shown)
        name = 'isthmus_api_requests_total{method="GET",service="%s",status="%s"}'
        assert first[name % ("migration", 200)] == 10
        assert first[name % ("migration", 404)] == 1
        assert first[name % ("shares", 200)] == 1
        assert first['isthmus_api_request_seconds_count{method="GET",service="migration"}'] == 11
        for child in psutil.Process(process.pid).children():
            child.kill()
        assert call_when_back(port) == 200
        assert look(shown)[name % ("migration", 200)] == 11
        with urllib.request.urlopen(f"http://127.0.0.1:{shown}/metrics", timeout=30) as answer:
            assert "secret-name" not in answer.read().decode()
        assert {each.laddr.ip for each in psutil.Process(process.pid).net_connections() if each.status == "LISTEN"} == {
            "127.0.0.1"
        }


def call_when_back(port: int) -> int:
    for _ in range(100):
        try:
            return call(port, "/v1/p1/transfers")
        except (urllib.error.URLError, ConnectionError):
            continue
    raise AssertionError("the API did not come back")


def test_nothing_is_shown_unless_it_is_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, port):
        listening = [each for each in psutil.Process(process.pid).net_connections() if each.status == "LISTEN"]
        assert [each.laddr.port for each in listening] == [port]
        assert call(port, "/metrics") == 404


def test_a_conductor_shows_what_is_under_way(api: Api) -> None:
    transfer = api.transfer()
    api.execution(transfer["id"])
    add_execution(api.database, status="COMPLETED")
    found = {family.name: family for family in Gauges(api.database).collect()}
    executions = {tuple(each.labels.values()): each.value for each in found["isthmus_executions"].samples}
    assert executions == {("transfer_execution", "RUNNING"): 1}
    assert found["isthmus_outbox_entries"].samples[0].value == 1
    assert found["isthmus_database_up"].samples[0].value == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_database_that_is_away_is_told(tmp_path: Path) -> None:
    from isthmus.control.database import Database

    away = Database(f"sqlite:///{tmp_path}/nowhere/isthmus.sqlite")
    assert [(each.name, each.samples[0].value) for each in Gauges(away).collect()] == [("isthmus_database_up", 0)]
    away.close()
