"""The protocol's fixed words: commands, versions, error codes (https://www.cni.dev/docs/spec/, 1.1.0)."""

from enum import IntEnum, StrEnum

from isthmus.control.errors import (
    Conflict,
    InvalidInput,
    IsthmusError,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    NotSupported,
    StepFailed,
    Unavailable,
)
from isthmus.networking.binding.contract import InterfaceExists, NamespaceGone
from isthmus.networking.neutron.faults import AddressTaken, Changed, NoAddressLeft, QuotaReached

SUPPORTED_VERSIONS = ("0.3.1", "0.4.0", "1.0.0", "1.1.0")
NEWEST_VERSION = SUPPORTED_VERSIONS[-1]


class Command(StrEnum):
    """What a runtime asks of the agent. VERSION never gets here: the executable answers it."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"


FIRST_VERSION = {Command.CHECK: "0.4.0", Command.GC: "1.1.0", Command.STATUS: "1.1.0"}
"""The first version that has a command; the others are as old as all that is supported."""

REQUIRED_VARIABLES = {
    Command.ADD: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    Command.DEL: ("CNI_CONTAINERID", "CNI_IFNAME"),
    Command.CHECK: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    Command.GC: (),
    Command.STATUS: (),
}


class ErrorCode(IntEnum):
    """Codes below 100 are the specification's (8 is libcni's), the others ours; 999 is libcni's for all else."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    INVALID_ENVIRONMENT = 4
    INPUT_OUTPUT = 5
    DECODING = 6
    INVALID_CONFIGURATION = 7
    INVALID_NAMESPACE = 8
    TRY_AGAIN_LATER = 11
    NOT_AVAILABLE = 50
    LIMITED_CONNECTIVITY = 51
    INTERFACE_EXISTS = 100
    NO_ADDRESS_LEFT = 101
    ADDRESS_TAKEN = 102
    NOT_AS_IT_SHOULD_BE = 103
    QUOTA_REACHED = 104
    CONFLICT = 105
    NOT_ALLOWED = 106
    BINDING_FAILED = 107
    INTERNAL = 999


_MESSAGES = {
    ErrorCode.INCOMPATIBLE_VERSION: "incompatible CNI version",
    ErrorCode.UNSUPPORTED_FIELD: "unsupported field in the network configuration",
    ErrorCode.UNKNOWN_CONTAINER: "the container is unknown or gone",
    ErrorCode.INVALID_ENVIRONMENT: "invalid environment variables",
    ErrorCode.INPUT_OUTPUT: "input or output failed",
    ErrorCode.DECODING: "the configuration cannot be decoded",
    ErrorCode.INVALID_CONFIGURATION: "invalid network configuration",
    ErrorCode.INVALID_NAMESPACE: "invalid network namespace",
    ErrorCode.TRY_AGAIN_LATER: "try again later",
    ErrorCode.NOT_AVAILABLE: "the network is not available",
    ErrorCode.LIMITED_CONNECTIVITY: "the network is not available, and containers may have limited connectivity",
    ErrorCode.INTERFACE_EXISTS: "the interface exists",
    ErrorCode.NO_ADDRESS_LEFT: "no address is left",
    ErrorCode.ADDRESS_TAKEN: "the address is taken",
    ErrorCode.NOT_AS_IT_SHOULD_BE: "the attachment is not as it should be",
    ErrorCode.QUOTA_REACHED: "a quota is reached",
    ErrorCode.CONFLICT: "something is in the way",
    ErrorCode.NOT_ALLOWED: "Neutron does not allow it",
    ErrorCode.BINDING_FAILED: "the interface cannot be plugged",
    ErrorCode.INTERNAL: "the agent failed in a way it did not foresee",
}


class CniError(IsthmusError):
    """What goes out as the specification's error; the message is its `details`."""

    code = "cni"
    status = 400

    def __init__(self, number: ErrorCode, details: str) -> None:
        super().__init__(details)
        self.number = number

    @property
    def summary(self) -> str:
        """The error's short message (`msg`), the same for every error of a number."""
        return _MESSAGES[self.number]


# The first that fits: a subclass stands before its base.
_NUMBERS: tuple[tuple[type[IsthmusError], ErrorCode], ...] = (
    (NamespaceGone, ErrorCode.UNKNOWN_CONTAINER),
    (InterfaceExists, ErrorCode.INTERFACE_EXISTS),
    (NoAddressLeft, ErrorCode.NO_ADDRESS_LEFT),
    (AddressTaken, ErrorCode.ADDRESS_TAKEN),
    (QuotaReached, ErrorCode.QUOTA_REACHED),
    (Changed, ErrorCode.TRY_AGAIN_LATER),
    (Unavailable, ErrorCode.TRY_AGAIN_LATER),
    (Conflict, ErrorCode.CONFLICT),
    (NotAllowed, ErrorCode.NOT_ALLOWED),
    (NotAuthenticated, ErrorCode.NOT_ALLOWED),
    (InvalidInput, ErrorCode.INVALID_CONFIGURATION),
    (NotFound, ErrorCode.INVALID_CONFIGURATION),
    (NotSupported, ErrorCode.INVALID_CONFIGURATION),
    (StepFailed, ErrorCode.BINDING_FAILED),
)


def as_cni(error: IsthmusError) -> CniError:
    """Return an error in the protocol's words."""
    if isinstance(error, CniError):
        return error
    number = next((number for kind, number in _NUMBERS if isinstance(error, kind)), ErrorCode.INTERNAL)
    return CniError(number, error.message)
