"""The shares API on its real parts."""

from functools import partial

from oslo_config.cfg import ConfigOpts

from isthmus.control.database import Database
from isthmus.control.policy import Policy
from isthmus.control.secrets import BarbicanVault
from isthmus.control.tokens import Wsgi
from isthmus.control.trusts import ensure_trust
from isthmus.shares.api.application import create_application
from isthmus.shares.api.call import Service
from isthmus.shares.api.policies import shares_rules
from isthmus.shares.api.routes import all_routes

TRUSTED_SECONDS = 5.0
"""A call whose connection turns out to be dead before anything was committed is tried again."""


def make_application(conf: ConfigOpts) -> Wsgi:
    """Return the API on the configured database, Keystone and Barbican; each process makes its own."""
    # A call that makes a trust takes a second connection beside its own.
    database = Database(
        conf.database.connection,
        connections=2 * conf.api.threads,
        trusted_seconds=TRUSTED_SECONDS,
    )
    service = Service(
        conf=conf,
        database=database,
        policy=Policy(conf, shares_rules()),
        vault=BarbicanVault(conf),
        trusts=partial(ensure_trust, conf, database),
    )
    return create_application(service, all_routes())
