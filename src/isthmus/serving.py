"""`isthmus api`: the APIs of all services behind one listener, or of those that `[api] serves` names.

The migration API (Coriolis v1) answers at `/`, with its page for people at `/ui`; the shares API (Manila v2) below
`/share`.
"""

import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from oslo_config.cfg import ConfigOpts

from isthmus.control import metrics, tracing
from isthmus.control.audit import audited
from isthmus.control.database import Database
from isthmus.control.http import send_fault
from isthmus.control.server import mount, wrap
from isthmus.control.tokens import Wsgi
from isthmus.web.page import PREFIX as PAGE_PREFIX
from isthmus.web.page import page

SHARE_PREFIX = "/share"
SERVICES = {"/v1/": "migration", f"{SHARE_PREFIX}/v2/": "shares"}
"""The services whose calls are recorded, by the beginning of their paths."""


def make_application(conf: ConfigOpts) -> Wsgi:
    """Return the APIs as one application with its layers; each process makes its own."""
    anybody = conf.api.noauth_project if conf.api.auth_strategy == "noauth" else None
    watched = audited(_apis(conf), Database(conf.database.connection), SERVICES, anybody)
    tracing.start(conf, "api")
    if tracing.is_on():
        watched = tracing.traced(watched)
    return wrap(conf, metrics.metered(watched, SERVICES) if metrics.is_on(conf) else watched)


def load(conf: ConfigOpts) -> dict[str, ModuleType]:
    """Import the APIs that are served, by name: who forks does so before, and its processes share them.

    What is not served stays out of memory: 20 MiB of the migration API, 5 of the shares API.
    """
    return {name: importlib.import_module(f"isthmus.{name}.api.serving") for name in conf.api.serves}


def _apis(conf: ConfigOpts) -> Wsgi:
    apis = {name: module.make_application(conf) for name, module in load(conf).items()}
    below = {SHARE_PREFIX: apis["shares"]} if "shares" in apis else {}
    if "migration" not in apis:
        return mount(_not_here, below)
    return mount(apis["migration"], below | {PAGE_PREFIX: page})


def _not_here(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    message = f"there is no {path} here: [api] serves does not name its service; ask where that is served"
    return send_fault(start_response, "404 Not Found", message)
