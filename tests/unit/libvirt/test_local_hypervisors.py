"""Which URIs lead to the worker's own machine, and that a worker opens those only where its operator lets it."""

import socket

import pytest

from isthmus.control.configuration import load
from isthmus.control.errors import NotAllowed
from isthmus.migration.planning.work import EndpointRef
from isthmus.migration.providers.libvirt.connection import leads_here
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.workflows.site import Clouds

HERE = [
    "qemu:///system",
    "qemu+tcp:///system",
    "qemu+unix:///system?socket=/tmp/other",
    "qemu+unix://kvm1.example.org/system",
    "qemu+ssh://root@localhost/system",
    "qemu+tcp://127.0.0.1:16509/system",
    "qemu+tcp://127.1/system",
    "qemu+tcp://2130706433/system",
    "qemu+tcp://0/system",
    "qemu+tls://[::1]/system",
    "qemu+tls://[::ffff:127.0.0.1]/system",
    f"qemu+tls://{socket.gethostname()}/system",
]


@pytest.mark.parametrize("uri", HERE)
def test_these_lead_to_the_workers_own_machine(uri: str) -> None:
    assert leads_here(uri)


@pytest.mark.parametrize("uri", ["qemu+tls://192.0.2.7/system", "qemu+ssh://root@[2001:db8::1]/system"])
def test_these_lead_to_others(uri: str) -> None:
    assert not leads_here(uri)


def test_a_worker_refuses_its_own_machine_unless_its_operator_allows_it() -> None:
    details = {"uri": "qemu:///system", "password": "swordfish"}
    endpoint = EndpointRef("e1", "libvirt", details, ())
    with pytest.raises(NotAllowed, match="allow_local_hypervisors") as refused:
        Clouds(provider_class, lambda *_: details).any(endpoint, None)
    assert "swordfish" not in refused.value.message
    Clouds(provider_class, lambda *_: details, allow_local=True).any(endpoint, None).close()


def test_the_option_is_off_unless_set() -> None:
    assert load([]).worker.allow_local_hypervisors is False


def test_a_worker_lends_its_ssh_keys_to_nobody() -> None:
    details = {"uri": "qemu+ssh://root@192.0.2.7/system"}
    endpoint = EndpointRef("e1", "libvirt", details, ())
    with pytest.raises(NotAllowed, match="or uses its sockets or keys"):
        Clouds(provider_class, lambda *_: details).any(endpoint, None)
    own = {**details, "ssh_private_key": "the endpoint's own"}
    Clouds(provider_class, lambda *_: own).any(EndpointRef("e1", "libvirt", own, ()), None).close()
