"""`isthmus api`: the APIs of all services behind one listener.

The migration API (Coriolis v1) answers at `/`, the shares API (Manila v2) below `/share`, the page for people at `/ui`.
"""

from oslo_config.cfg import ConfigOpts

from isthmus.control import metrics, tracing
from isthmus.control.audit import audited
from isthmus.control.database import Database
from isthmus.control.server import mount, wrap
from isthmus.control.tokens import Wsgi
from isthmus.migration.api.serving import make_application as make_migration
from isthmus.shares.api.application import PREFIX as SHARE_PREFIX
from isthmus.shares.api.serving import make_application as make_shares
from isthmus.web.page import PREFIX as PAGE_PREFIX
from isthmus.web.page import page

SERVICES = {"/v1/": "migration", f"{SHARE_PREFIX}/v2/": "shares"}
"""The services whose calls are recorded, by the beginning of their paths."""


def make_application(conf: ConfigOpts) -> Wsgi:
    """Return all APIs as one application with its layers; each process makes its own."""
    both = mount(make_migration(conf), {SHARE_PREFIX: make_shares(conf), PAGE_PREFIX: page})
    anybody = conf.api.noauth_project if conf.api.auth_strategy == "noauth" else None
    watched = audited(both, Database(conf.database.connection), SERVICES, anybody)
    tracing.start(conf, "api")
    if tracing.is_on():
        watched = tracing.traced(watched)
    return wrap(conf, metrics.metered(watched, SERVICES) if metrics.is_on(conf) else watched)
