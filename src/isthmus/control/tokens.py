"""Keystone's token check, remembered for a few seconds.

keystonemiddleware keeps what Keystone said of a token for `[keystone_authtoken] token_cache_time` (five minutes), and
works it out again for each request, which costs more than most answers. Here the headers that it made are kept for
`REMEMBERED_SECONDS`, so a token that is revoked ends that much later at most. Tokens whose validity depends on the
request (access rules of application credentials, binds, service tokens) are not remembered.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keystonemiddleware.auth_token import AuthProtocol
from oslo_config.cfg import ConfigOpts

Environ = dict[str, Any]
Wsgi = Callable[[Environ, Any], Iterable[bytes]]
"""A WSGI application."""

REMEMBERED_SECONDS = 5.0
MOST = 1000
"""Tokens remembered at once."""

_USERS = (
    *("DOMAIN_ID", "DOMAIN_NAME", "PROJECT_ID", "PROJECT_NAME", "PROJECT_DOMAIN_ID", "PROJECT_DOMAIN_NAME"),
    *("USER_ID", "USER_NAME", "USER_DOMAIN_ID", "USER_DOMAIN_NAME", "ROLES", "IDENTITY_STATUS", "IS_ADMIN_PROJECT"),
    *("ROLE", "USER", "TENANT_ID", "TENANT_NAME", "TENANT"),
)
HEADERS = (*(f"HTTP_X_{name}" for name in _USERS), "HTTP_OPENSTACK_SYSTEM_SCOPE")
"""What the check says of a user, as WSGI has headers."""
SERVICES = "HTTP_X_SERVICE_"
"""How those begin that it says of a service, and of the catalog."""


@dataclass(frozen=True)
class _Known:
    """What is known of a token, until then (seconds since the epoch)."""

    headers: Mapping[str, Any]
    until: float


class TokenCheck:
    """The application behind the check of its callers' tokens; it decides itself what needs one."""

    def __init__(self, conf: ConfigOpts, application: Wsgi, now: Callable[[], float] = time.time) -> None:
        self._application = application
        self._now = now
        self._known: dict[str, _Known] = {}
        self._check: Wsgi = AuthProtocol(self._noting, {"oslo_config_config": conf, "delay_auth_decision": True})

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Answer one request: with what is known of its token, or after the whole check."""
        known = self._known.get(environ.get("HTTP_X_AUTH_TOKEN", ""))
        if known is None or "HTTP_X_SERVICE_TOKEN" in environ or known.until <= self._now():
            return self._check(environ, start_response)
        for name in [name for name in environ if name.startswith(SERVICES)]:
            del environ[name]
        environ.update(known.headers)
        return self._application(environ, start_response)

    def _noting(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if token and environ.get("HTTP_X_IDENTITY_STATUS") == "Confirmed" and "HTTP_X_SERVICE_TOKEN" not in environ:
            said = environ["keystone.token_info"]["token"]
            if not said.get("bind") and not (said.get("application_credential") or {}).get("access_rules"):
                self._remember(token, environ, said)
        return self._application(environ, start_response)

    def _remember(self, token: str, environ: Environ, said: Mapping[str, Any]) -> None:
        if len(self._known) >= MOST:
            self._known.clear()
        headers = {name: environ.get(name) for name in HEADERS}
        expires = datetime.fromisoformat(said["expires_at"]).timestamp()
        self._known[token] = _Known(headers, min(expires, self._now() + REMEMBERED_SECONDS))
