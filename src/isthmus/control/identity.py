"""Who calls, and how the service acts for them: Keystone tokens and trusts.

A call carries a token that soon expires; a migration may take days. So the API makes a Keystone trust
(`isthmus.control.trusts`), and a worker turns its id into a session that acts as that user in that project.
"""

import re
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keystoneauth1 import exceptions, loading, plugin
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session as KeystoneSession
from oslo_config.cfg import ConfigOpts

from isthmus.control.configuration import SERVICE_CREDENTIALS
from isthmus.control.errors import Unavailable

KEPT_SECONDS = 300.0
"""How long the service's own session is kept: a change of the catalog is seen by then."""


@dataclass(frozen=True)
class Caller:
    """The user, project and roles that a call comes from. `token` is None where calls carry none (noauth)."""

    user_id: str
    project_id: str
    roles: tuple[str, ...]
    token: str | None = None
    is_admin: bool = False

    def __repr__(self) -> str:
        """Leave the token out: this text may reach a log."""
        return f"Caller(user_id={self.user_id!r}, project_id={self.project_id!r}, roles={self.roles!r})"


class _CallersToken(plugin.BaseAuthPlugin):  # type: ignore[misc] # keystoneauth1 has no types
    """A token as it came, with the service's own view of the catalog; saves asking Keystone for another token."""

    def __init__(self, token: str, project_id: str, catalog: Adapter) -> None:
        super().__init__()
        self._token = token
        self._project_id = project_id
        self._catalog = catalog

    def get_token(self, session: KeystoneSession, **_: Any) -> str:  # noqa: ARG002 - keystoneauth's signature
        """Return the caller's token."""
        return self._token

    def get_endpoint(self, session: KeystoneSession, **wanted: Any) -> str | None:  # noqa: ARG002
        """Return the catalog's URL of a service."""
        url: str | None = self._catalog.get_endpoint(**wanted)
        return url

    def get_project_id(self, session: KeystoneSession, **_: Any) -> str:  # noqa: ARG002
        """Return the caller's project."""
        return self._project_id


def service_session(conf: ConfigOpts) -> Adapter:
    """Return a session as the service's own account (`[service_credentials]`).

    Raises `Unavailable` if that section is not filled in. Nothing is sent before the session is used. One is kept for
    `KEPT_SECONDS` for each configuration, as Keystone's check of a password takes longer than most calls. Thread-safe.
    """
    return _KEPT.get(conf)


class _Kept:
    """A session for each configuration, until it is too old. Two threads at once may make two; the last one stays."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._sessions: dict[int, tuple[float, Adapter]] = {}

    def get(self, conf: ConfigOpts) -> Adapter:
        key = id(conf)
        until, session = self._sessions.get(key, (0.0, None))
        if session is None or until <= self._now():
            if key not in self._sessions:
                weakref.finalize(conf, self._sessions.pop, key, None)
            session = _session(conf, _load_credentials(conf))
            self._sessions[key] = (self._now() + KEPT_SECONDS, session)
        return session


_KEPT = _Kept()


def caller_session(conf: ConfigOpts, token: str | None, project_id: str) -> Adapter:
    """Return a session that acts with the caller's token; without a token (noauth) as the service's account."""
    service = service_session(conf)
    return service if token is None else _session(conf, _CallersToken(token, project_id, service))


def trust_session(conf: ConfigOpts, trust_id: str | None) -> Adapter:
    """Return a session that acts as the user who made the trust; without one (noauth) as the service's account.

    The first use raises keystoneauth's errors if the trust or a role it hands on is gone; `isthmus.control.secrets`
    turns them into ours.
    """
    if not trust_id:
        return service_session(conf)
    scope = {"project_id": None, "project_name": None, "project_domain_id": None, "project_domain_name": None}
    return _session(conf, _load_credentials(conf, trust_id=trust_id, **scope))


def catalog_url(session: Adapter, service_type: str, interface: str | None = None) -> str:
    """Return the URL of a service in the catalog, without a version and without a slash at its end.

    `interface` is by default the configured one. Raises `Unavailable` if the catalog has none, or Keystone is silent.
    """
    interface = interface or session.interface
    try:
        url = session.get_endpoint(service_type=service_type, interface=interface, skip_discovery=True)
    except exceptions.EndpointNotFound:
        url = None
    except exceptions.ClientException as error:
        raise keystone_silent(error) from error
    if not url:
        raise Unavailable(
            f"Keystone's catalog has no {interface} endpoint of type {service_type}; add it there, or correct "
            "interface and region_name in [service_credentials]"
        )
    return re.sub(r"/v\d+(\.\d+)?$", "", str(url).rstrip("/"))


def project_of(session: Adapter) -> str | None:
    """Return the id of the project that a session acts in. Raises `Unavailable` if Keystone is silent."""
    try:
        found = session.get_project_id()
    except exceptions.ClientException as error:
        raise keystone_silent(error) from error
    return str(found) if found else None


def keystone_silent(error: Exception) -> Unavailable:
    """Return the error for a Keystone that does not answer as it should."""
    return Unavailable(f"Keystone does not answer as it should ({type(error).__name__}); try again, or see its log")


def _load_credentials(conf: ConfigOpts, **overrides: Any) -> plugin.BaseAuthPlugin:
    loading.register_auth_conf_options(conf, SERVICE_CREDENTIALS)
    if not conf[SERVICE_CREDENTIALS].auth_type:
        raise Unavailable(
            "Isthmus has no account in Keystone: fill in [service_credentials] of its configuration "
            "(auth_type, auth_url, username, password, project_name and their domains)"
        )
    return loading.load_auth_from_conf_options(conf, SERVICE_CREDENTIALS, **overrides)


def _session(conf: ConfigOpts, auth: plugin.BaseAuthPlugin) -> Adapter:
    loading.register_session_conf_options(conf, SERVICE_CREDENTIALS)
    session = loading.load_session_from_conf_options(conf, SERVICE_CREDENTIALS, auth=auth)
    wanted = conf[SERVICE_CREDENTIALS]
    return Adapter(session, interface=wanted.interface, region_name=wanted.region_name)
