"""NICs on Neutron networks: names of taps, and what the machine's definition says."""

from xml.etree import ElementTree as ET

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.migration.machine import Nic, NicMapping
from isthmus.migration.providers.libvirt import neutron_nics
from isthmus.migration.providers.libvirt.domain import DeployedNics, _add_nics
from isthmus.migration.providers.libvirt.neutron_nics import ReservedPort

MAC = "52:54:00:aa:00:01"
MAPPING = NicMapping(Nic(MAC, MAC, "lan"), "neutron:blue")


def test_a_tap_is_named_after_deployment_machine_and_nic_alone_and_fits_the_kernel() -> None:
    names = {
        neutron_nics.tap_name(deployment, machine, index)
        for deployment in ("d1", "d2")
        for machine in ("web", "a name longer than any interface's can be")
        for index in (0, 99)
    }
    assert len(names) == 8
    assert all(len(name) <= 15 and neutron_nics.is_tap(name) for name in names)
    assert neutron_nics.tap_name("d1", "web", 0) in names
    assert not neutron_nics.is_tap("vnet0")
    with pytest.raises(InvalidInput, match="more than 100 NICs"):
        neutron_nics.tap_name("d1", "web", 100)


def test_a_worker_without_an_agent_is_told_what_it_lacks() -> None:
    assert neutron_nics.list_networks(None) == []
    neutron_nics.release(None, "d1", "web")
    with pytest.raises(InvalidInput, match="network_agent"):
        neutron_nics.check(None, {}, [MAPPING])


@pytest.mark.parametrize(
    ("model", "finish", "has_offloads_off"), [("virtio", True, True), ("virtio", False, False), ("e1000", True, False)]
)
def test_the_definition_has_the_tap_the_mtu_and_offloads_as_the_switch_needs_them(
    model: str, finish: bool, has_offloads_off: bool
) -> None:
    devices, deployed = ET.Element("devices"), ET.Element("deployed")
    port = ReservedPort("ismabc", MAC, 1442, ("10.0.0.5/24",), finish)
    _add_nics(None, devices, model, DeployedNics([MAPPING], {0: port}), deployed)  # type: ignore[arg-type]
    (nic,) = devices
    assert nic.get("type") == "ethernet"
    assert {each.tag: dict(each.attrib) for each in nic if each.tag != "driver"} == {
        "mac": {"address": MAC},
        "target": {"dev": "ismabc", "managed": "yes"},
        "mtu": {"size": "1442"},
        "model": {"type": model},
    }
    host = nic.find("driver/host")
    assert (host is not None and host.get("csum") == "off") == has_offloads_off
    (mark,) = deployed
    assert dict(mark.attrib) == {"mac": MAC, "network": "neutron:blue"}
