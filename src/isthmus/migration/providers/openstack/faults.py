"""openstacksdk's and keystoneauth's errors as ours."""

from collections.abc import Iterator
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
ERRORS = (sdk.SDKException, auth.ClientException)


def translate(error: Exception, subject: str) -> IsthmusError:
    """Return our error for a cloud's; `subject` names the object in the message ("volume of disk vda")."""
    text, status = _text(error), getattr(error, "status_code", None) or getattr(error, "http_status", None)
    if isinstance(error, auth.ConnectFailure | auth.DiscoveryFailure | auth.RetriableConnectionFailure):
        return Unavailable(f"{subject}: the cloud does not answer ({text}); check its address and that its APIs run")
    if status == 401 or isinstance(error, auth.Unauthorized | auth.MissingRequiredOptions):
        return NotAuthenticated(f"{subject}: Keystone refuses the credentials; correct the endpoint's")
    if status in (403, 409, 413) and ("uota" in text or "imit" in text):
        return StepFailed(f"{subject}: the project's quota is used up ({text}); free some, or have it raised")
    if status == 403:
        return NotAllowed(f"{subject}: the user may not do this ({text}); give the user the role that it needs")
    if status == 404:
        return NotFound(f"{subject} does not exist in the cloud ({text}); list what there is and choose again")
    if status == 409:
        return Conflict(f"{subject} is in a state that forbids it ({text}); try again when that has ended")
    if status == 400:
        return InvalidInput(f"{subject}: the cloud refuses the request ({text}); correct the environment")
    if status in (429, 500, 502, 503, 504):
        return Unavailable(f"{subject}: the cloud cannot answer now ({text}); see its services' logs")
    if isinstance(error, auth.CatalogException | sdk.EndpointNotFound | sdk.ConfigException):
        return InvalidInput(f"{subject}: the catalogue has no such service ({text}); correct region_name or interface")
    return StepFailed(f"{subject}: {text}; see the cloud's logs for the cause")


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
