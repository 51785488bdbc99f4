"""The API and its schema on a real PostgreSQL of the test's own."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from tests.functional.api.parts import Api, schema_differences

from isthmus.control import migrations

USER = "nobody"  # PostgreSQL refuses to run as root


def _programs() -> Path:
    """Return the newest installed server's programs; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "PostgreSQL is not installed: apt-get install postgresql"
    return found[-1]


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="isthmus-pg-"))
    shutil.chown(folder, USER)
    data = folder / "data"

    def run(program: str, *words: str) -> None:
        command = ["runuser", "-u", USER, "--", str(_programs() / program), *words]
        subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, cwd=folder)

    try:
        run("initdb", "-D", str(data), "-A", "trust", "-U", "isthmus", "--no-sync")
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        run("pg_ctl", "-D", str(data), "-o", options, "-l", str(folder / "log"), "-w", "start")
        try:
            run("createdb", "-h", str(folder), "-U", "isthmus", "isthmus")
            url = f"postgresql+psycopg://isthmus@/isthmus?host={folder}"
            migrations.upgrade(url)
            yield url
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder)


def test_revisions_and_tables_agree(api: Api) -> None:
    with api.database.engine.connect() as connection:
        assert schema_differences(connection) == []


def test_of_many_calls_at_once_one_wins(api: Api) -> None:
    for _ in range(5):
        transfer = api.transfer()["id"]
        api.execution(transfer)
        api.finish(transfer)
        execute = partial(api.call, "POST", f"/transfers/{transfer}/executions", {"execution": {}})
        deploy = partial(api.call, "POST", "/deployments", {"deployment": {"transfer_id": transfer}})
        with ThreadPoolExecutor(8) as pool:
            calls = [pool.submit(call) for call in (execute, deploy) * 4]
        assert sorted(call.result().status_code for call in calls) == [200] + [409] * 7


def test_pages_follow_one_another(api: Api) -> None:
    made = {api.transfer()["id"] for _ in range(3)}
    order = {"sort_key": "updated_at", "limit": "2"}
    first = [each["id"] for each in api.call("GET", "/transfers", params=order).json["transfers"]]
    rest = api.call("GET", "/transfers", params={"sort_key": "updated_at", "marker": first[-1]}).json["transfers"]
    assert made <= {*first, *(each["id"] for each in rest)}
