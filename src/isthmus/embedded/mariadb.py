"""MariaDB: one private server for all that keep tables, reached by a unix socket in a 0700 directory.

It runs as whoever runs `isthmus up` (root included): the state directory is its owner's alone, so another user
could not reach the data, and as there is no network listener, only the owner's own processes can talk to it.
Durability stays at MariaDB's safest (doublewrite, a flush at each commit): state is worth more than speed.
"""

import importlib.util
import os
import sys

from isthmus.embedded.layout import write_private
from isthmus.embedded.part import Part, Preparation, Site
from isthmus.embedded.readiness import mariadb_answers

DATABASES = ("keystone", "barbican", "isthmus", "neutron")


def database_url(site: Site, name: str, driver: str = "pymysql") -> str:
    """Return the SQLAlchemy URL of a service's own database, with its own user's password."""
    where = f"unix_socket={site.layout.mariadb_socket}&charset=utf8mb4"
    return f"mysql+{driver}://{name}:{_password(site, name)}@localhost/{name}?{where}"


def own_driver() -> str:
    """Return the driver of our own services: MySQLdb, in C, where it is installed; Debian's package is not on PyPI."""
    return "mysqldb" if importlib.util.find_spec("MySQLdb") else "pymysql"


def _password(site: Site, name: str) -> str:
    password: str = getattr(site.credentials, f"{name}_database")
    return password


def configure(site: Site) -> None:
    """Write the SQL that MariaDB runs at each start before it listens: a database and a user for each service."""
    lines = []
    for name in DATABASES:
        secret = _password(site, name)
        lines += [
            f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb4;",
            f"CREATE USER IF NOT EXISTS {name}@localhost IDENTIFIED BY '{secret}';",
            f"GRANT ALL ON {name}.* TO {name}@localhost;",
        ]
    write_private(site.layout.of("mariadb") / "init.sql", "\n".join(lines) + "\n")


def part(site: Site) -> Part:
    """Return MariaDB as a part."""
    own = site.layout.of("mariadb")
    data = own / "data"
    user = ("--user=root",) if os.geteuid() == 0 else ()
    return Part(
        name="mariadb",
        command=(
            "/usr/sbin/mariadbd",
            "--no-defaults",
            *user,
            f"--datadir={data}",
            f"--socket={site.layout.mariadb_socket}",
            f"--pid-file={site.layout.run / 'mariadb.pid'}",
            f"--init-file={own / 'init.sql'}",
            "--skip-networking",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--max-connections=200",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-doublewrite=1",
            # Small: four services of one machine, a few thousand rows.
            "--innodb-buffer-pool-size=64M",
            "--performance-schema=off",
            "--key-buffer-size=1M",
            "--aria-pagecache-buffer-size=8M",
        ),
        check=mariadb_answers(site.layout.mariadb_socket, "isthmus", site.credentials.isthmus_database),
        address=str(site.layout.mariadb_socket),
        preparation=Preparation(
            command=(sys.executable, "-m", "isthmus.embedded.mariadb_install", str(data)),
            stamp=site.layout.stamp("mariadb"),
            stamp_text="1",
        ),
        stop_limit=45.0,
    )
