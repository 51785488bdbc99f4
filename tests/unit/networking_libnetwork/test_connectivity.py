"""Rules of a security group for exposed ports."""

from isthmus.networking.libnetwork.connectivity import rules
from isthmus.networking.libnetwork.options import ExposedPort
from isthmus.networking.model import Protocol


def test_a_run_of_ports_is_one_rule_of_each_family() -> None:
    exposed = [ExposedPort(Protocol.TCP, port) for port in (80, 81, 443)] + [ExposedPort(Protocol.UDP, 53)]

    found = [
        (each["protocol"], each["port_range_min"], each["port_range_max"])
        for each in rules("group", exposed)
        if each["ethertype"] == "IPv6"
    ]

    assert found == [("tcp", 80, 81), ("tcp", 443, 443), ("udp", 53, 53)]
    assert {each["security_group_id"] for each in rules("group", exposed)} == {"group"}
