"""What an S3 store refuses, and what keeps it from answering, as ours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore import exceptions as s3
from botocore.parsers import ResponseParserError

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

_KEYS = (NotAuthenticated, "the store refuses the keys ({}); correct the endpoint's auth")
_REGION = (InvalidInput, "the bucket is in another region ({}); correct region_name")
_LATER = (Unavailable, "the store cannot answer now ({}); it will be tried again")
_BY_CODE: Mapping[str, tuple[type[IsthmusError], str]] = {
    "NoSuchBucket": (NotFound, "there is no such bucket; make it, or correct bucket"),
    "NoSuchKey": (NotFound, "it is gone; list the endpoint's instances"),
    "NoSuchUpload": (Unavailable, "somebody has ended the upload meanwhile; it will be tried again"),
    "AccessDenied": (NotAllowed, "the keys may not do this ({}); give their owner the right"),
    "InvalidObjectState": (StepFailed, "it is archived ({}); have the store bring it back first"),
    "RequestTimeTooSkewed": (Unavailable, "the worker's clock and the store's differ; have the operator set them"),
    "BadDigest": (Unavailable, "it did not arrive whole; it will be tried again"),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired"), _KEYS
    ),
    **dict.fromkeys(
        (
            "AuthorizationHeaderMalformed",
            "PermanentRedirect",
            "TemporaryRedirect",
            "IllegalLocationConstraintException",
            "301",
            "307",
        ),
        _REGION,
    ),
    **dict.fromkeys(("QuotaExceeded", "XMinioStorageFull"), (StepFailed, "the store is full ({}); make room there")),
    **dict.fromkeys(("RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable"), _LATER),
}
_BY_STATUS: Mapping[int, tuple[type[IsthmusError], str]] = {
    400: (InvalidInput, "the store refuses the request ({}); correct the endpoint"),
    401: _KEYS,
    403: _BY_CODE["AccessDenied"],
    404: (NotFound, "the store does not have it ({}); correct the endpoint, or list what there is"),
    409: (Conflict, "its state forbids it ({}); try again when that has ended"),
    **dict.fromkeys((429, 500, 502, 503, 504), _LATER),
}
_OTHER = (StepFailed, "{}; see the store's log for the cause")


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn the store's errors from inside the block into ours; `subject` names the object in the message."""
    try:
        yield
    except s3.ClientError as error:
        raise _refused(error, subject) from error
    except ResponseParserError as error:
        raise InvalidInput(f"{subject}: what answers there is no S3 ({_short(error)}); correct endpoint_url") from error
    except s3.BotoCoreError as error:
        raise _silent(error, subject) from error


def _refused(error: s3.ClientError, subject: str) -> IsthmusError:
    said = error.response.get("Error", {})
    code, status = str(said.get("Code", "")), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    kind, why = _BY_CODE.get(code) or _BY_STATUS.get(int(status or 0), _OTHER)
    text = _short(f"{code}: {said.get('Message', '')}")
    region = f"; it is in {said['Region']}" if said.get("Region") else ""
    return kind(f"{subject}: {why.format(text + region)}")


def _silent(error: s3.BotoCoreError, subject: str) -> IsthmusError:
    why = _short(error)
    if isinstance(error, s3.ParamValidationError):
        return InvalidInput(f"{subject}: no store has that ({why}); correct the endpoint")
    if isinstance(error, s3.SSLError):
        return Unavailable(f"{subject}: the store's certificate is not trusted ({why}); correct ca or endpoint_url")
    if isinstance(error, s3.EndpointConnectionError | s3.ConnectTimeoutError | s3.ProxyConnectionError):
        return Unavailable(f"{subject}: the store does not answer ({why}); check endpoint_url and that it runs")
    return Unavailable(f"{subject}: the connection broke ({why}); it will be tried again")


def _short(text: object) -> str:
    return " ".join(str(text).split()).strip(": ")[:_LONGEST]
