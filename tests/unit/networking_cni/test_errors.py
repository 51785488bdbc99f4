"""Every error of the agent goes out under one of the specification's numbers or of ours."""

import pytest

from isthmus.control import errors
from isthmus.networking.binding.bandwidth import limit_of
from isthmus.networking.binding.contract import BindingFailed, BindingUnavailable, InterfaceExists, NamespaceGone
from isthmus.networking.cni.protocol import ErrorCode, as_cni
from isthmus.networking.neutron.faults import AddressTaken, Changed, NoAddressLeft, QuotaReached


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (NamespaceGone, 3),
        (BindingUnavailable, 11),
        (errors.Unavailable, 11),
        (Changed, 11),
        (errors.NotFound, 7),
        (errors.InvalidInput, 7),
        (errors.NotSupported, 7),
        (InterfaceExists, 100),
        (NoAddressLeft, 101),
        (AddressTaken, 102),
        (QuotaReached, 104),
        (errors.Conflict, 105),
        (errors.NotAllowed, 106),
        (errors.NotAuthenticated, 106),
        (BindingFailed, 107),
        (errors.IsthmusError, 999),
    ],
)
def test_an_error_has_a_number(error: type[errors.IsthmusError], number: int) -> None:
    found = as_cni(error("port x: do y"))

    assert int(found.number) == number
    assert found.message == "port x: do y"
    assert found.summary


def test_every_number_has_a_message() -> None:
    from isthmus.networking.cni.protocol import CniError

    assert all(CniError(number, "").summary for number in ErrorCode)


@pytest.mark.parametrize(
    ("rate", "burst", "expected"),
    [(0, 1000, None), (8_000_000_000, 0, (10**9, 50_000_000)), (8000, 0, (1000, 65536)), (7, 8_000_000, (1, 10**6))],
)
def test_a_limit_is_in_bytes_and_lets_one_segment_pass(rate: int, burst: int, expected: tuple[int, int] | None) -> None:
    found = limit_of(rate, burst)

    assert (found and (found.rate, found.burst)) == expected
