"""Secrets, kept in Barbican: connection details travel as a reference, and only a worker reads what it refers to.

A reference is a URL, but nothing is ever sent to the host it names: only its last part, the secret's id, is used,
on the Barbican of the catalog. A reference to any other place is refused, so no token can be lured away.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import InvalidInput, IsthmusError, NotAllowed, NotFound, SecretGone, Unavailable
from isthmus.control.identity import Caller, caller_session, catalog_url

_REFERENCE = re.compile(r"(?P<base>https?://[^\s?#]+?)(/v1)?/secrets/(?P<id>[0-9a-fA-F-]{36})/?")
_BARBICAN = "key-manager"

REMEMBERED_SECONDS = 10.0
"""How long a worker remembers what a secret holds: as long as steps follow one another closely."""


class Vault(Protocol):
    """What the API needs of a store of secrets, on behalf of a caller."""

    def store(self, caller: Caller, name: str, payload: Mapping[str, Any]) -> str:
        """Keep the payload and return its reference."""

    def check(self, caller: Caller, ref: str) -> None:
        """Return if the reference is one of this store's; raise `InvalidInput` if not."""

    def delete(self, caller: Caller, ref: str) -> None:
        """Delete the secret. Already done: it is gone."""


class ReadingVault(Vault, Protocol):
    """A vault whose callers are shown again what they stored."""

    def fetch(self, caller: Caller, ref: str) -> dict[str, Any]:
        """Return the payload of a secret; see the function of this name for what it raises."""


class BarbicanVault:
    """The catalog's Barbican, used with the caller's own token."""

    def __init__(self, conf: ConfigOpts) -> None:
        self._conf = conf

    def store(self, caller: Caller, name: str, payload: Mapping[str, Any]) -> str:
        """Keep the payload as a secret of the caller's and return its reference."""
        return store(self._session(caller), name, payload)

    def check(self, caller: Caller, ref: str) -> None:
        """Return if the reference is one of the catalog's Barbican; raise `InvalidInput` if not."""
        _locate(self._session(caller), ref)

    def delete(self, caller: Caller, ref: str) -> None:
        """Delete the secret. Already done: it is gone."""
        delete(self._session(caller), ref)

    def fetch(self, caller: Caller, ref: str) -> dict[str, Any]:
        """Return the payload of a secret of the caller's project."""
        return fetch(self._session(caller), ref)

    def _session(self, caller: Caller) -> Adapter:
        return caller_session(self._conf, caller.token, caller.project_id)


class Remembered:
    """What secrets hold, remembered for some seconds in this process's memory: each step of an execution asks anew.

    `fetch` gets a secret for a trust. A secret's content never changes under its reference, so only a secret or a trust
    that was deleted can be noticed late, by `REMEMBERED_SECONDS` at most. Failures are not remembered. Thread-safe.
    """

    def __init__(
        self, fetch: Callable[[str | None, str], Mapping[str, Any]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._known: dict[tuple[str | None, str], tuple[float, Mapping[str, Any]]] = {}

    def __call__(self, trust_id: str | None, reference: str) -> Mapping[str, Any]:
        """Return a copy of what the secret holds; raises what `fetch` raises."""
        now = self._now()
        for key, (until, _) in list(self._known.items()):
            if until <= now:
                self._known.pop(key, None)
        _, content = self._known.get((trust_id, reference), (0.0, None))
        if content is None:
            content = self._fetch(trust_id, reference)
            self._known[trust_id, reference] = (now + REMEMBERED_SECONDS, content)
        return dict(content)


def store(session: Adapter, name: str, payload: Mapping[str, Any]) -> str:
    """Keep a JSON object as a Barbican secret and return its reference (a URL)."""
    body = {
        "name": name,
        "secret_type": "opaque",
        "payload": json.dumps(payload),
        "payload_content_type": "text/plain",
    }
    url = catalog_url(session, _BARBICAN)
    # log=False: keystoneauth would write the payload to the debug log.
    answer = _call(session, "POST", f"{url}/v1/secrets", f"the secret {name}", json=body)
    return f"{url}/v1/secrets/{str(answer.json()['secret_ref']).rstrip('/').rsplit('/', 1)[1]}"


def fetch(session: Adapter, ref: str) -> dict[str, Any]:
    """Return the JSON object that a secret holds.

    Raises `SecretGone` if it is, `NotAllowed` if the session may not read it, `InvalidInput` if the
    reference or the content is not what connection details look like, `Unavailable` if Barbican is silent.
    """
    answer = _call(
        session, "GET", f"{_locate(session, ref)}/payload", f"the secret {ref}", headers={"Accept": "text/plain"}
    )
    try:
        payload = json.loads(answer.text)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise InvalidInput(f"the secret {ref} does not hold a JSON object; store the connection details as JSON text")
    return payload


def delete(session: Adapter, ref: str) -> None:
    """Delete a secret. Already done: it is gone."""
    try:
        _call(session, "DELETE", _locate(session, ref), f"the secret {ref}")
    except NotFound:
        return


def _locate(session: Adapter, ref: str) -> str:
    match = _REFERENCE.fullmatch(ref)
    home = catalog_url(session, _BARBICAN)
    known = {home} | {url for url in map(partial(_other_url, session), ("public", "internal", "admin")) if url}
    if match is None or match["base"] not in known:
        raise InvalidInput(
            f"secret_ref must look like {home}/v1/secrets/ID, with an ID that this cloud's Barbican gave"
        )
    return f"{home}/v1/secrets/{match['id']}"


def _other_url(session: Adapter, interface: str) -> str | None:
    try:
        return catalog_url(session, _BARBICAN, interface)
    except Unavailable:
        return None


def _call(session: Adapter, method: str, url: str, what: str, **arguments: Any) -> Any:
    try:
        return session.request(url, method, log=False, **arguments)
    except exceptions.HttpError as error:
        raise _explain(error, what) from None
    except exceptions.ClientException as error:
        raise Unavailable(f"Barbican does not answer ({type(error).__name__}) about {what}; try again") from None


def _explain(error: exceptions.HttpError, what: str) -> IsthmusError:
    if error.http_status == 404:
        return SecretGone(f"{what} is gone from Barbican; give the endpoint its connection details again")
    if error.http_status in {401, 403}:
        return NotAllowed(f"Barbican does not give {what} to this user and project; check its owner and access list")
    return Unavailable(f"Barbican answered {error.http_status} about {what}; try again, or see Barbican's log")
