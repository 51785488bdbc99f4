"""The page at /ui: in a real browser, and as files."""

import json
import urllib.error
import urllib.request
import uuid
from contextlib import closing
from pathlib import Path

import pytest
from lab.browser import Browser
from sqlalchemy import update
from tests.functional.api.test_events import add_execution, end_execution
from tests.functional.api.test_server import serving

from isthmus.control.database import Database, utc_now
from isthmus.migration.tables import TaskEventRow, TaskProgressRow, WaveGroupRow, WaveMemberRow, WaveRow


def _database(directory: Path) -> Database:
    return Database(f"sqlite:///{directory}/isthmus.sqlite")


def add_wave(database: Database, members: list[str]) -> str:
    """Write a wave of one group that is under way, with members of these statuses."""
    made, now = str(uuid.uuid4()), utc_now()
    facts = {"project_id": "p1", "user_id": "u", "max_in_flight": 4, "auto_deploy": False, "shutdown_instances": False}
    with database.transaction() as session:
        session.add(WaveRow(id=made, name="night", status="RUNNING", after=[], run=1, created_at=now, **facts))
        session.flush()
        group = WaveGroupRow(id=str(uuid.uuid4()), wave_id=made, index=0, name="all", gate="none", status="RUNNING")
        session.add(group)
        session.flush()
        for index, status in enumerate(members):
            row = WaveMemberRow(id=str(uuid.uuid4()), group_id=group.id, index=index, transfer_id=f"t{index}")
            row.status = status
            session.add(row)
    return made


def test_work_is_seen_live_in_a_browser(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, port), Browser() as browser:
        database = Database(f"sqlite:///{tmp_path}/isthmus.sqlite")
        run = add_execution(database)
        browser.open(f"http://127.0.0.1:{port}/ui")
        browser.run("document.getElementById('project').value = 'p1'")
        browser.run("document.querySelector('#login button').click()")
        card = f"document.querySelector('[data-execution=\"{run}\"]')"
        browser.wait(lambda: browser.run(f"!!{card}"), "execution")
        assert "RUNNING" in browser.run(f"{card}.innerText")
        assert browser.run(f"[{card}.querySelector('progress').value, {card}.querySelector('progress').max]") == [1, 10]
        with database.transaction() as session:
            session.execute(update(TaskProgressRow).values(current_step=6))
        browser.wait(lambda: browser.run(f"{card}.querySelector('progress').value") == 6, "progress of 6")
        end_execution(database, run)
        browser.wait(lambda: "COMPLETED" in browser.run(f"{card}.innerText"), "COMPLETED")
        # A second one comes up without anybody asking for it.
        second = add_execution(database)
        browser.wait(lambda: browser.run(f"!!document.querySelector('[data-execution=\"{second}\"]')"), "the second")
        assert browser.problems == []
        database.close()


def test_a_wave_has_a_bar_of_its_members(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, port), Browser() as browser, closing(_database(tmp_path)) as database:
        wave = add_wave(database, ["COMPLETED", "COMPLETED", "EXECUTING", "PENDING"])
        browser.open(f"http://127.0.0.1:{port}/ui")
        browser.run("document.getElementById('project').value = 'p1'")
        browser.run("document.querySelector('#login button').click()")
        card = f"document.querySelector('[data-wave=\"{wave}\"]')"
        browser.wait(lambda: browser.run(f"!!{card}"), "wave")
        assert "wave night: RUNNING" in browser.run(f"{card}.innerText")
        assert "2 COMPLETED, 1 EXECUTING, 1 PENDING" in browser.run(f"{card}.innerText")
        assert browser.run(f"[{card}.querySelector('progress').value, {card}.querySelector('progress').max]") == [2, 4]
        with database.transaction() as session:
            session.execute(update(WaveMemberRow).values(status="COMPLETED"))
            session.execute(update(WaveRow).values(status="COMPLETED", updated_at=utc_now()))
        browser.wait(lambda: "4 COMPLETED" in browser.run(f"{card}.innerText"), "all COMPLETED")
        assert browser.problems == []


def test_what_a_guest_says_is_text_and_never_a_page(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
    with serving(tmp_path) as (_, port), Browser() as browser:
        database = Database(f"sqlite:///{tmp_path}/isthmus.sqlite")
        add_execution(database)
        with database.transaction() as session:
            session.execute(update(TaskEventRow).values(message=hostile))
        browser.open(f"http://127.0.0.1:{port}/ui")
        browser.run("document.getElementById('project').value = 'p1'")
        browser.run("document.querySelector('#login button').click()")
        browser.wait(lambda: hostile in browser.run("document.body.innerText"), "the message as text")
        assert browser.run("document.title") == "Isthmus"
        assert browser.run("document.querySelectorAll('img, article script').length") == 0
        # Were such a thing in the page all the same, the policy would not let it run.
        browser.run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"document.title=1\">')")
        browser.wait(lambda: any("Content Security Policy" in each for each in browser.problems), "refusal")
        assert browser.run("document.title") == "Isthmus"
        database.close()


def test_a_refusal_is_shown(tmp_path: Path) -> None:
    with serving(tmp_path, "stream_seconds = 5\nstreams = 4") as (_, port), Browser() as browser:
        browser.open(f"http://127.0.0.1:{port}/ui")
        browser.run("lastId = 'nonsense'; document.getElementById('project').value = 'p1'")
        browser.run("document.querySelector('#login button').click()")
        said = "document.getElementById('state').textContent"
        browser.wait(lambda: "Last-Event-ID" in browser.run(said), "reason")
        assert browser.run("document.getElementById('login').hidden") is False
        assert browser.run("document.getElementById('token').value") == ""


def test_its_files_have_a_strict_policy(tmp_path: Path) -> None:
    kinds = {"": "text/html", "/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}
    with serving(tmp_path) as (_, port):
        for path, kind in kinds.items():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ui{path}", timeout=30) as answer:
                assert answer.headers.get_content_type() == kind
                policy = answer.headers["Content-Security-Policy"]
                assert policy.startswith("default-src 'none'")
                assert "unsafe" not in policy
        for missing in ("/ui/../isthmus.conf", "/ui/page.py", "/ui//"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{missing}", timeout=30)
            assert caught.value.code == 404
            assert json.loads(caught.value.read())["error"]["code"] == 404
