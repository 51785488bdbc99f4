"""`isthmus api`: the APIs of all services behind one listener.

The migration API (Coriolis v1) answers at `/`, the shares API (Manila v2) below `/share`.
"""

from oslo_config.cfg import ConfigOpts

from isthmus.control.server import mount, wrap
from isthmus.control.tokens import Wsgi
from isthmus.migration.api.serving import make_application as make_migration
from isthmus.shares.api.application import PREFIX as SHARE_PREFIX
from isthmus.shares.api.serving import make_application as make_shares


def make_application(conf: ConfigOpts) -> Wsgi:
    """Return all APIs as one application with its layers; each process makes its own."""
    return wrap(conf, mount(make_migration(conf), {SHARE_PREFIX: make_shares(conf)}))
