"""openstacksdk's and keystoneauth's errors as ours."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from keystoneauth1 import exceptions as auth
from openstack import exceptions as sdk

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
ERRORS = (sdk.SDKException, auth.ClientException)


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
_NO_SUCH_SERVICE = (auth.CatalogException, sdk.EndpointNotFound, sdk.ConfigException)


def translate(error: Exception, subject: str) -> IsthmusError:
    """Return our error for a cloud's; `subject` names the object in the message ("volume of disk vda")."""
    text, status = _text(error), getattr(error, "status_code", None) or getattr(error, "http_status", None)
    kind: type[IsthmusError]
    kind, why = _BY_STATUS.get(int(status or 0), (StepFailed, "{}; see the cloud's logs for the cause"))
    if isinstance(error, _SILENT):
        kind, why = Unavailable, "the cloud does not answer ({}); check its address and that its APIs run"
    elif isinstance(error, sdk.DuplicateResource):
        kind, why = InvalidInput, "several have that name ({}); choose one by its id"
    elif isinstance(error, _NO_SUCH_SERVICE):
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
    except ERRORS as error:
        raise translate(error, subject) from error
