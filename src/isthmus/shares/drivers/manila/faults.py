"""What Manila's drivers raise, in the words of the contract."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from oslo_utils import strutils

from isthmus.control.errors import InvalidInput, IsthmusError, NotFound, NotSupported
from isthmus.shares.drivers.contract import BackendFull, BackendUnavailable, DataWouldBeLost, DriverFailed, NotAdoptable

_SECRET_WORDS = ("password", "passwd", "passphrase", "secret", "token", "private_key", "api_key", "credential")
_KINDS: Mapping[str, type[IsthmusError]] = {
    "ShareShrinkingPossibleDataLoss": DataWouldBeLost,
    "ManageInvalidShare": NotAdoptable,
    "ManageInvalidShareSnapshot": NotAdoptable,
    "ManageExistingShareTypeMismatch": NotAdoptable,
    "BadConfigurationException": InvalidInput,
    "StorageCommunicationException": BackendUnavailable,
    "HSPTimeoutException": BackendUnavailable,
    "SSHException": BackendUnavailable,
    "NotFound": NotFound,
}
"""By the name of an exception's class, or of the nearest one that it is derived from, in `manila.exception`."""


class Faults:
    """Translates errors of one back end's driver, and keeps the back end's secrets out of what it says."""

    def __init__(self, backend: str, options: Mapping[str, str]) -> None:
        self._backend = backend
        self._secrets = [
            value for key, value in options.items() if value and any(word in key.lower() for word in _SECRET_WORDS)
        ]

    @contextmanager
    def translated(self, doing: str, otherwise: type[IsthmusError] = DriverFailed) -> Iterator[None]:
        """Raise what happens within as an error of the contract, `otherwise` if it has no kind of its own.

        `doing` names the act and the object, as "extend share instance <id>".
        """
        try:
            yield
        except IsthmusError:
            raise
        except NotImplementedError as error:
            raise NotSupported(f"back end {self._backend} cannot {doing}: its driver does not know how") from error
        except Exception as error:  # noqa: BLE001 - it is raised anew, in other words
            kind = kind_of(error) or otherwise
            said = self.said(error)
            # An error that tells a secret must not be seen in a traceback either.
            cause = error if said in str(error) else None
            raise kind(f"back end {self._backend} could not {doing}: {said}") from cause

    def said(self, error: Exception) -> str:
        """Return an error's own words without passwords."""
        text = strutils.mask_password(str(error).strip()) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def kind_of(error: Exception) -> type[IsthmusError] | None:
    """Return the contract's kind of an error, None if it has none."""
    for known in type(error).__mro__:
        if known.__module__ == "manila.exception" and known.__name__ in _KINDS:
            return _KINDS[known.__name__]
    if _out_of_room(error):
        return BackendFull
    return BackendUnavailable if _lost_connection(error) else None


@contextmanager
def gone_is_fine() -> Iterator[None]:
    """Let what is to be deleted be gone already."""
    try:
        yield
    except Exception as error:
        if not is_a(error, "StorageResourceNotFound"):
            raise


def is_a(error: Exception, *names: str) -> bool:
    """Return whether it is one of these of Manila's exceptions."""
    return any(known.__module__ == "manila.exception" and known.__name__ in names for known in type(error).__mro__)


def _out_of_room(error: Exception) -> bool:
    # Manila has no exception for it; programs that drivers run say it in the kernel's words.
    words = os.strerror(errno.ENOSPC).lower()
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or words in str(error).lower()


def _lost_connection(error: Exception) -> bool:
    # Libraries that only some drivers use derive theirs from OSError or not at all, and are known by name.
    names = {known.__name__ for known in type(error).__mro__}
    return isinstance(error, (ConnectionError, TimeoutError)) or bool(
        names & {"ConnectionError", "Timeout", "TimedOut", "ConnectionShutdown", "ConnectTimeout", "SSHException"}
    )
