"""Does a part answer? Real questions, asked the way its clients will."""

import http.client
import socket
from pathlib import Path

import pymysql

from isthmus.embedded.part import Check, NotReady
from isthmus.embedded.ports import LOOPBACK

_ANSWER_SECONDS = 5.0


def http_answers(port: int, path: str, *, also: tuple[int, ...] = ()) -> Check:
    """Return a check that GET `path` is answered with a 2xx or 3xx status, or with one of `also`."""

    def check() -> None:
        connection = http.client.HTTPConnection(LOOPBACK, port, timeout=_ANSWER_SECONDS)
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            status = connection.getresponse().status
        except http.client.HTTPException as error:
            raise NotReady(f"GET {path}: {error!r}") from error
        finally:
            connection.close()
        if not (200 <= status < 400 or status in also):
            raise NotReady(f"GET {path} answered {status}")

    return check


def mariadb_answers(path: Path, user: str, password: str) -> Check:
    """Return a check that a service's own user can ask its database something."""

    def check() -> None:
        try:
            connection = pymysql.connect(unix_socket=str(path), user=user, password=password, database=user,
                                         connect_timeout=int(_ANSWER_SECONDS))  # fmt: skip
        except pymysql.Error as error:
            raise NotReady(f"MariaDB: {error.args[0]}") from error
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    return check


def temporal_answers(port: int, http_port: int) -> Check:
    """Return a check that Temporal's front end listens and knows the namespace `default`.

    Asked over its HTTP listener: the Python client would bring a native runtime into the supervisor for one question.
    """
    knows_namespace = http_answers(http_port, "/api/v1/namespaces/default")

    def check() -> None:
        socket.create_connection((LOOPBACK, port), timeout=_ANSWER_SECONDS).close()
        knows_namespace()

    return check


def file_exists(path: Path) -> Check:
    """Return a check that the part has touched its ready file."""

    def check() -> None:
        if not path.exists():
            raise NotReady(f"{path.name} is not there yet")

    return check
