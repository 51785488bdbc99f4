"""What all resources of the migration API work with, and how one asks a cloud a question."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import falcon

from isthmus.control.database import Database
from isthmus.control.errors import InvalidInput, NotAuthenticated
from isthmus.control.http import read_object
from isthmus.control.identity import Caller
from isthmus.control.policy import Policy
from isthmus.control.secrets import Vault
from isthmus.control.signing import Signer
from isthmus.migration.api.policies import PREFIX
from isthmus.migration.store import regions
from isthmus.migration.tables import EndpointRow

INTRODUCTION_SECONDS = 20.0
"""The workflow itself gives up within 15: a host without a worker must not keep anybody waiting."""


class Asker(Protocol):
    """The part of `isthmus.control.engine.Engine` that the API needs."""

    def ask(self, workflow: str, argument: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
        """Run a workflow and return its result; raises the `IsthmusError` it failed with."""


@dataclass(frozen=True)
class Service:
    """The parts that a resource works with. `trusts` gives a trust id for a caller; None where there is no Keystone."""

    database: Database
    engine: Asker
    vault: Vault
    trusts: Callable[[Caller], str | None]
    policy: Policy
    max_body_bytes: int
    ask_timeout: int
    signer: Signer

    def allow(self, req: falcon.Request, rule: str) -> Caller:
        """Return the caller if the policy `migration:<rule>` permits this; raise `NotAllowed` if not."""
        caller: Caller = req.context.caller
        self.policy.check(caller, f"{PREFIX}:{rule}")
        return caller

    def body(self, req: falcon.Request) -> dict[str, Any]:
        """Return the request's JSON object."""
        return read_object(req, self.max_body_bytes)

    def ask(
        self, caller: Caller, endpoint: EndpointRow, question: str, parameters: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a worker's answer to a question about a cloud; raises the provider's error."""
        with self.database.transaction() as session:
            reach = regions.queues(session, endpoint.mapped_regions)
        argument = {
            "question": question,
            "endpoint": {
                "id": endpoint.id,
                "type": endpoint.type,
                "connection_info": endpoint.connection_info,
                "mapped_regions": list(reach),
            },
            "trust_id": self.trusts(caller),
            "parameters": dict(parameters or {}),
        }
        try:
            return self.engine.ask("AskProvider", argument, timeout_seconds=self.ask_timeout)
        except NotAuthenticated as error:
            # The caller's own token is good: upon 401 clients would only log in to Keystone again.
            raise InvalidInput(error.message) from None

    def introduce(self, queue: str) -> dict[str, Any]:
        """Return what whoever serves a queue tells of itself; `Unavailable` in seconds if nobody does."""
        return self.engine.ask("AskService", {"queue": queue}, timeout_seconds=INTRODUCTION_SECONDS)


def new_id() -> str:
    """Return a new object's id."""
    return str(uuid.uuid4())
