"""The migration API on its real parts."""

from functools import partial
from pathlib import Path

from oslo_config.cfg import ConfigOpts

from isthmus.control.database import Database
from isthmus.control.engine import Engine
from isthmus.control.policy import Policy
from isthmus.control.secrets import BarbicanVault
from isthmus.control.server import Wsgi
from isthmus.control.signing import Signer
from isthmus.control.trusts import ensure_trust
from isthmus.migration.api.application import create_application
from isthmus.migration.api.policies import migration_rules
from isthmus.migration.api.service import Service


def make_application(conf: ConfigOpts) -> Wsgi:
    """Return the API on the configured database, engine, Keystone and Barbican; each process makes its own."""
    database = Database(conf.database.connection)
    service = Service(
        database=database,
        engine=Engine(conf),
        vault=BarbicanVault(conf),
        trusts=partial(ensure_trust, conf, database),
        policy=Policy(conf, migration_rules()),
        max_body_bytes=conf.api.max_body_bytes,
        ask_timeout=conf.api.ask_timeout,
        signer=Signer(Path(conf.api.report_key_file or f"{conf.state_dir}/report-signing.key")),
    )
    return create_application(conf, service)
