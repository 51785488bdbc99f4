"""The page below `/ui`: three files without any secret, which ask the API as every other client does.

A token is typed in and lives in the page's memory alone. The content security policy lets the page load from this
server only, run no inline script, be framed by nobody and send forms nowhere.
"""

from collections.abc import Iterable
from importlib.resources import files
from typing import Any

PREFIX = "/ui"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cache-Control", "no-cache"),
)

_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


def page(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Answer as a WSGI application mounted at `PREFIX`."""
    found = _FILES.get(environ.get("PATH_INFO") or "/")
    if found is None:
        return _refuse("404 Not Found", start_response)
    if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
        return _refuse("405 Method Not Allowed", start_response)
    name, kind = found
    content = files(__package__).joinpath("files", name).read_bytes()
    start_response("200 OK", [("Content-Type", kind), ("Content-Length", str(len(content))), *HEADERS])
    return [content] if environ["REQUEST_METHOD"] == "GET" else []


def _refuse(status: str, start_response: Any) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "0"), *HEADERS])
    return []
