"""A connection to one cloud as one project's user: opened when first needed, each request with a time limit.

The worker's own clouds.yaml and OS_* variables are never read: all comes from the endpoint's connection details.
"""

import importlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from keystoneauth1.identity.v3 import ApplicationCredential, Password
from keystoneauth1.session import Session

from isthmus.control.errors import StepFailed, Unavailable
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.providers.premises import NOTHING, Premises
from isthmus.migration.reporting import Report

REQUEST_SECONDS = 60
FIRST_REQUEST_SECONDS = 15
WAIT_SECONDS = 1800
"""How long Cinder and Nova may take for one thing; copying a large volume inside the cloud is one."""
_POLL_SECONDS = 0.5


class Cloud:
    """One lazily opened connection, made from an endpoint's connection details (`schemas.CONNECTION`)."""

    def __init__(self, details: Mapping[str, Any], premises: Premises = NOTHING) -> None:
        self._details = details
        self._premises = premises
        self._auth: Mapping[str, str] = details["auth"]
        self._connection: Any = None
        self._files = tempfile.TemporaryDirectory(prefix="isthmus-openstack-") if details.get("ca") else None

    @property
    def label(self) -> str:
        """Keystone's address, for messages."""
        return str(self._auth["auth_url"])

    @property
    def file_shares(self) -> Mapping[str, Path]:
        """Where the worker has the shares of this very cloud's Cinder, by export.

        Another Keystone's catalogue leads to another Cinder, which may claim that any file is its tenant's volume.
        """
        return self._premises.shares_of(self.label)

    @property
    def runtime(self) -> Path:
        """Where the sockets of open volumes are."""
        return self._premises.runtime / "openstack"

    @property
    def compute(self) -> Any:
        """Nova."""
        return self._open().compute

    @property
    def volumes(self) -> Any:
        """Cinder."""
        return self._open().block_storage

    @property
    def network(self) -> Any:
        """Neutron."""
        return self._open().network

    @property
    def images(self) -> Any:
        """Glance."""
        return self._open().image

    @property
    def objects(self) -> Any:
        """Swift."""
        return self._open().object_store

    @property
    def project_id(self) -> str:
        """The project that the credentials are for."""
        return str(self._open().current_project_id)

    def authorize(self) -> None:
        """Ask Keystone for a token. Raises `Unavailable`, `NotAuthenticated`."""
        with translated(f"cloud {self.label}"):
            self._open().session.get_token()

    def close(self) -> None:
        """Close the connection and remove the certificates' file. Calling it twice is fine."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()
        if self._files is not None:
            self._files.cleanup()

    def _open(self) -> Any:
        if self._connection is None:
            session = Session(self._plugin(), verify=self._verify(), timeout=FIRST_REQUEST_SECONDS)
            with translated(f"cloud {self.label}"):
                session.get_token()
            session.timeout = REQUEST_SECONDS
            self._connection = importlib.import_module("openstack.connection").Connection(
                session=session,
                region_name=self._details.get("region_name"),
                interface=self._details.get("interface") or "public",
                app_name="isthmus",
            )
        return self._connection

    def _plugin(self) -> Any:
        given = dict(self._auth)
        if "application_credential_secret" in given:
            for name in ("project_id", "project_name", "project_domain_id", "project_domain_name", "password"):
                given.pop(name, None)
            return ApplicationCredential(**given)
        for name in ("application_credential_id", "application_credential_name"):
            given.pop(name, None)
        for owner in ("user", "project"):
            if not given.get(f"{owner}_domain_id") and not given.get(f"{owner}_domain_name"):
                given[f"{owner}_domain_id"] = "default"
        return Password(**given)

    def _verify(self) -> str | bool:
        if self._files is None:
            return True
        path = Path(self._files.name) / "ca.pem"
        path.write_text(str(self._details["ca"]), encoding="ascii")
        return str(path)


def wait_until(
    look: Callable[[], str | None], what: str, report: Report | None = None, *, seconds: float = WAIT_SECONDS
) -> None:
    """Wait until `look` returns None; what it returns says what is still missing. Raises `Unavailable` in the end."""
    deadline = time.monotonic() + seconds
    while (missing := look()) is not None:
        if report:
            report.check()
        if time.monotonic() > deadline:
            raise Unavailable(f"{what}: {missing} after {seconds:.0f} s; see the cloud's logs. It will be tried again")
        time.sleep(_POLL_SECONDS)


def settled(thing: Any, wanted: tuple[str, ...], what: str) -> str | None:
    """Return None if a volume, snapshot or server has a wanted status; raise `StepFailed` if it never will."""
    status = str(thing.status)
    if status in wanted:
        return None
    if status.lower().startswith("error"):
        raise StepFailed(f"{what} ended in status {status}; see the cloud's logs for the cause")
    return f"status {status}"
