"""The one tree of errors.

    IsthmusError
    ├── InvalidInput            400 badRequest           the request itself is wrong
    │   └── InputTooLarge       413 overLimit
    ├── NotAuthenticated        401 unauthorized
    ├── NotAllowed              403 forbidden
    ├── NotFound                404 itemNotFound
    │   └── SecretGone          404 itemNotFound         a secret that is referred to was deleted
    ├── MethodNotAllowed        405 badMethod
    ├── Conflict                409 conflictingRequest   the object is in a state that forbids it
    ├── UnsupportedMediaType    415 badMediaType
    ├── NotSupported            501 notImplemented       a provider or a guest cannot do it
    ├── Unavailable             503 serviceUnavailable   a part we need does not answer; trying again is right
    ├── StepFailed              500 computeFault         a step cannot succeed; trying again is useless
    └── Cancelled               499 conflictingRequest   somebody asked for the work to stop

Every message names the object and the next step a person can take. No message holds a secret.
Fault names are those of Coriolis' REST API.
"""

from typing import ClassVar


class IsthmusError(Exception):
    """Base of all errors that Isthmus raises on purpose.

    `code` is stable and meant for programs, `fault` is the name in the API's error body, `status` its HTTP status;
    `retryable` says whether the same call can succeed later without anybody changing anything.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    fault: ClassVar[str] = "computeFault"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(IsthmusError):
    """The request or a provider's input is malformed or refers to something unknown."""

    code = "invalid-input"
    status = 400
    fault = "badRequest"


class InputTooLarge(InvalidInput):
    """The request's body is larger than `[api] max_body_bytes`."""

    code = "input-too-large"
    status = 413
    fault = "overLimit"


class NotAuthenticated(IsthmusError):
    """No valid Keystone token came with the request, or an endpoint's credentials were refused."""

    code = "not-authenticated"
    status = 401
    fault = "unauthorized"


class NotAllowed(IsthmusError):
    """The caller's roles do not permit this."""

    code = "not-allowed"
    status = 403
    fault = "forbidden"


class NotFound(IsthmusError):
    """No such object in the caller's project."""

    code = "not-found"
    status = 404
    fault = "itemNotFound"


class SecretGone(NotFound):
    """A secret was deleted; what referred to it may refer to another by now."""

    code = "secret-gone"


class MethodNotAllowed(IsthmusError):
    """The resource exists but does not answer to this HTTP method."""

    code = "method-not-allowed"
    status = 405
    fault = "badMethod"


class Conflict(IsthmusError):
    """The object's present state forbids it: try again when the named action has ended."""

    code = "conflict"
    status = 409
    fault = "conflictingRequest"


class UnsupportedMediaType(IsthmusError):
    """The body is not JSON."""

    code = "unsupported-media-type"
    status = 415
    fault = "badMediaType"


class NotSupported(IsthmusError):
    """A provider, a platform or a guest cannot do what was asked."""

    code = "not-supported"
    status = 501
    fault = "notImplemented"


class Unavailable(IsthmusError):
    """A part we depend on does not answer now; the engine may try again."""

    code = "unavailable"
    status = 503
    fault = "serviceUnavailable"
    retryable = True


class StepFailed(IsthmusError):
    """A step of a migration cannot succeed; what was begun is undone."""

    code = "step-failed"


class Cancelled(IsthmusError):
    """Somebody asked for the work to stop; what was begun is undone."""

    code = "cancelled"
    status = 499
    fault = "conflictingRequest"
