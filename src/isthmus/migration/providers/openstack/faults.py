"""openstacksdk's and keystoneauth's errors as ours.

openstacksdk is loaded when it is first used, not with this package: every worker has all providers, and 14 MiB are
spared where none of its clouds is an OpenStack.
"""

import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from keystoneauth1 import exceptions as auth

from isthmus.control.errors import (
    Conflict,
    InvalidInput,
    IsthmusError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    StepFailed,
    Unavailable,
)

_LONGEST = 300
_QUOTA = re.compile(r"[Qq]uota|[Ll]imit")


def sdk() -> Any:
    """Return `openstack.exceptions`, loaded now if it was not before."""
    return importlib.import_module("openstack.exceptions")


def errors() -> tuple[type[Exception], ...]:
    """Return what a cloud's client may raise."""
    return sdk().SDKException, auth.ClientException


_BY_STATUS: Mapping[int, tuple[type[IsthmusError], str]] = {
    400: (InvalidInput, "the cloud refuses the request ({}); correct the environment"),
    401: (NotAuthenticated, "Keystone refuses the credentials; correct the endpoint's"),
    403: (NotAllowed, "the user may not do this ({}); give the user the role that it needs"),
    404: (NotFound, "the cloud does not have it ({}); list what there is and choose again"),
    409: (Conflict, "its state forbids it ({}); try again when that has ended"),
    **dict.fromkeys(
        (429, 500, 502, 503, 504), (Unavailable, "the cloud cannot answer now ({}); see its services' logs")
    ),
}
_SILENT = (auth.ConnectFailure, auth.DiscoveryFailure, auth.RetriableConnectionFailure)


def translate(error: Exception, subject: str) -> IsthmusError:
    """Return our error for a cloud's; `subject` names the object in the message ("volume of disk vda")."""
    text, status = _text(error), getattr(error, "status_code", None) or getattr(error, "http_status", None)
    kind: type[IsthmusError]
    kind, why = _BY_STATUS.get(int(status or 0), (StepFailed, "{}; see the cloud's logs for the cause"))
    if isinstance(error, _SILENT):
        kind, why = Unavailable, "the cloud does not answer ({}); check its address and that its APIs run"
    elif isinstance(error, sdk().DuplicateResource):
        kind, why = InvalidInput, "several have that name ({}); choose one by its id"
    elif isinstance(error, (auth.CatalogException, sdk().EndpointNotFound, sdk().ConfigException)):
        kind, why = InvalidInput, "the catalogue has no such service ({}); correct region_name or interface"
    elif status in (403, 409, 413) and _QUOTA.search(text):
        kind, why = StepFailed, "the project's quota is used up ({}); free some, or have it raised"
    return kind(f"{subject}: {why.format(text)}")


def _text(error: Exception) -> str:
    details = getattr(error, "details", None)
    return " ".join(str(details or error).split())[:_LONGEST]


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn the cloud's errors from inside the block into ours."""
    try:
        yield
    except errors() as error:
        raise translate(error, subject) from error
