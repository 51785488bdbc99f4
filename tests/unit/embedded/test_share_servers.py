"""What serves shares on one machine: what a machine must have for it, told before anything starts."""

import os
from socket import AF_INET, AF_INET6
from types import SimpleNamespace

import psutil
import pytest

from isthmus.control.errors import NotSupported
from isthmus.embedded import share_servers


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_servers, "PROGRAMS", {})
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def has(monkeypatch: pytest.MonkeyPatch, **interfaces: tuple[int, str]) -> None:
    found = {name: [SimpleNamespace(family=kind, address=address)] for name, (kind, address) in interfaces.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)


def test_a_machine_with_loopback_alone_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, lo=(AF_INET, "127.0.0.1"), eth0=(AF_INET6, "fe80::1"))
    with pytest.raises(NotSupported, match=r"ip address add 127\.0\.0\.2/8 dev lo"):
        share_servers.check_installed()


@pytest.mark.parametrize("address", ["192.0.2.7", "127.0.0.2"])
def test_one_address_more_is_enough(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    has(monkeypatch, lo=(AF_INET, "127.0.0.1"), other=(AF_INET, address))
    share_servers.check_installed()
