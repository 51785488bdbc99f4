"""A real PostgreSQL of a test's own."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from isthmus.control import migrations

USER = "nobody"  # PostgreSQL refuses to run as root


def _programs() -> Path:
    """Return the newest installed server's programs; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "PostgreSQL is not installed: apt-get install postgresql"
    return found[-1]


@contextmanager
def postgresql() -> Iterator[str]:
    """Run a server and give the URL of a database with the schema."""
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
