"""Where a worker receives disks, as it is configured."""

import pytest

from isthmus.control.errors import InvalidInput, Unavailable
from isthmus.migration.disks.door import Door, Listen
from isthmus.migration.disks.trust import Identity


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.0.0.0:7670", Listen("0.0.0.0", 7670, 7670)),
        ("10.0.0.5:7670-7679", Listen("10.0.0.5", 7670, 7679)),
        ("[fd00::1]:7670", Listen("fd00::1", 7670, 7670)),
        (" localhost:0 ", Listen("localhost", 0, 0)),
    ],
)
def test_where_to_listen_is_read(text: str, found: Listen) -> None:
    assert Listen.of(text) == found


@pytest.mark.parametrize("text", ["7670", "host", "host:", "host:70000", "host:2-1", "host:1-70000", "host:a"])
def test_what_is_no_address_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"\[worker\] channel_listen = .*0\.0\.0\.0:7670-7679"):
        Listen.of(text)


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        (None, "127.0.0.1", None),
        ("worker.example", "worker.example", None),
        ("worker.example:443", "worker.example", 443),
        ("fd00::1", "fd00::1", None),
        ("[fd00::1]:443", "fd00::1", 443),
    ],
)
def test_others_are_told_the_address_that_reaches_it(address: str | None, host: str, port: int | None) -> None:
    ours, theirs = Identity.make(), Identity.make()
    door = Door(Listen.of("127.0.0.1:0"), address)
    with door.expecting("0" * 32, ours, theirs.certificate) as visit:
        assert door.address_of(visit) == (host, port or visit.port)


def test_the_first_free_port_is_taken_and_none_is_an_error_that_names_the_option() -> None:
    ours, theirs = Identity.make(), Identity.make()
    with Door(Listen.of("127.0.0.1:0")).expecting("0" * 32, ours, theirs.certificate) as taken:
        only = Door(Listen("127.0.0.1", taken.port, taken.port))
        with (
            pytest.raises(Unavailable, match=r"port \d+: Address already in use.*\[worker\] channel_listen"),
            only.expecting("1" * 32, ours, theirs.certificate),
        ):
            pass


def test_a_private_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(Identity.make())
