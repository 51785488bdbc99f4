"""One call of the API: who asks, at which version, with what, and the transaction it is answered in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import falcon
from oslo_config.cfg import ConfigOpts
from sqlalchemy.orm import Session

from isthmus.control.database import Database
from isthmus.control.errors import InvalidInput, NotAllowed
from isthmus.control.http import read_object
from isthmus.control.identity import Caller
from isthmus.control.policy import Policy
from isthmus.control.secrets import ReadingVault
from isthmus.shares.api.versions import Version


@dataclass(frozen=True)
class Service:
    """The parts that handlers work with."""

    conf: ConfigOpts
    database: Database
    policy: Policy
    vault: ReadingVault
    trusts: Callable[[Caller], str | None]


@dataclass
class Outside:
    """What a call does elsewhere (in Barbican): `undo` is for a transaction that fails, `finish` for one that held."""

    undo: list[Callable[[], None]] = field(default_factory=list)
    finish: list[Callable[[], None]] = field(default_factory=list)


@dataclass(frozen=True)
class Call:
    """One request. `session` is one transaction: committed with the answer, rolled back if the handler raises.

    A handler may run again from its start if the database chose it as a deadlock's victim: it must do nothing else
    that cannot be done twice, or say in `outside` how it is undone. `query` holds the last value of each parameter.
    `base_url` ends before `/v2`.
    """

    service: Service
    caller: Caller
    version: Version
    session: Session
    now: datetime
    query: Mapping[str, str]
    base_url: str
    path: str
    request_id: str
    experimental: bool
    request: falcon.Request = field(repr=False)
    outside: Outside = field(default_factory=Outside)

    @property
    def conf(self) -> ConfigOpts:
        """Return the configuration."""
        return self.service.conf

    @property
    def project_id(self) -> str:
        """Return the caller's project."""
        return self.caller.project_id

    def body(self) -> dict[str, Any]:
        """Return the request's JSON object; see `read_object` for what it raises."""
        # A handler that runs again finds what was read the first time.
        context = self.request.context
        if not hasattr(context, "body"):
            context.body = read_object(self.request, self.conf.api.max_body_bytes)
        found: dict[str, Any] = context.body
        return found

    def entity(self, name: str) -> dict[str, Any]:
        """Return the object under `name` in the body; `InvalidInput` if there is none."""
        inner = self.body().get(name)
        if not isinstance(inner, dict):
            raise InvalidInput(f"Missing or malformed '{name}' element in request body.")
        return inner

    def allow(self, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Return if the policy permits this; raise `NotAllowed` if not. The default target is the caller's project."""
        self.service.policy.check(self.caller, rule, target)

    def may(self, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        """Say whether the policy permits this."""
        try:
            self.service.policy.check(self.caller, rule, target)
        except NotAllowed:
            return False
        return True

    @property
    def is_admin(self) -> bool:
        """Say whether the caller is an administrator of the cloud (Manila's `context_is_admin`)."""
        return self.may("context_is_admin")


@dataclass(frozen=True)
class Answer:
    """What a handler answers where it is not a JSON object with status 200. `body` None is no body."""

    status: int = 200
    body: Mapping[str, Any] | None = None


Handler = Callable[..., "Answer | Mapping[str, Any] | None"]
"""Takes the call, then the path's variables by name (for an action also `argument`). None is an empty 200."""
