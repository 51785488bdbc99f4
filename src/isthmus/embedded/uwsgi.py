"""How Keystone and Barbican are served: uWSGI (PyPI `pyuwsgi`), one process with threads, no master.

Why not gunicorn: its arbiter is a second Python process (about 25 MiB for each service), it answers nothing
while its worker boots, and it has no chunked input that Barbican's clients may send. uWSGI's master would watch
the one process; our supervisor does that already.
"""

from isthmus.embedded.part import program
from isthmus.embedded.ports import LOOPBACK


def command(port: int, threads: int, *application: str) -> tuple[str, ...]:
    """Return the command that serves an application (uWSGI's `--module X` or `--paste X`) on a loopback port."""
    return (
        program("uwsgi"),
        "--http-socket", f"{LOOPBACK}:{port}",
        "--processes", "1",
        "--threads", str(threads),
        "--enable-threads",
        # cryptography's native code refuses to be loaded in a second interpreter.
        "--single-interpreter",
        "--need-app",
        "--die-on-term",
        "--disable-logging",
        "--log-5xx",
        "--log-date",
        "--http-chunked-input",
        "--buffer-size", "65535",
        # There is no keep-alive on an http-socket: say so, or clients meet a closed connection.
        "--add-header", "Connection: close",
        *application,
    )  # fmt: skip
