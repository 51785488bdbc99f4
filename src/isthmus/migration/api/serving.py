"""The migration API on its real parts."""

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from oslo_config.cfg import ConfigOpts

from isthmus.control.database import Database
from isthmus.control.policy import Policy
from isthmus.control.secrets import BarbicanVault
from isthmus.control.signing import Signer
from isthmus.control.sparing import without
from isthmus.control.tokens import Wsgi
from isthmus.control.trusts import ensure_trust
from isthmus.migration.api.application import create_application
from isthmus.migration.api.policies import migration_rules
from isthmus.migration.api.service import Asker, Service


class _EngineOnDemand:
    """The engine, loaded with the first question: an API that asks no cloud anything does without its 25 MiB."""

    def __init__(self, conf: ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._engine: Asker | None = None

    def ask(self, workflow: str, argument: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        """As `Engine.ask`."""
        with self._lock:
            if self._engine is None:
                # Its stubs are 8 MiB beside the engine's own client.
                with without("grpc"):
                    from isthmus.control.engine import Engine  # noqa: PLC0415 - see the class

                self._engine = Engine(self._conf)
        return self._engine.ask(workflow, argument, timeout_seconds=timeout_seconds)


def make_application(conf: ConfigOpts) -> Wsgi:
    """Return the API on the configured database, engine, Keystone and Barbican; each process makes its own."""
    # A call that makes a trust takes a second connection beside its own.
    database = Database(conf.database.connection, connections=2 * conf.api.threads)
    service = Service(
        database=database,
        engine=_EngineOnDemand(conf),
        vault=BarbicanVault(conf),
        trusts=partial(ensure_trust, conf, database),
        policy=Policy(conf, migration_rules()),
        max_body_bytes=conf.api.max_body_bytes,
        ask_timeout=conf.api.ask_timeout,
        signer=Signer(Path(conf.api.report_key_file or f"{conf.state_dir}/report-signing.key")),
    )
    return create_application(conf, service)
