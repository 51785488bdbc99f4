from isthmus.migration.morphing import dhcp, network_names
from isthmus.migration.morphing.network_names import Names

A, B = "52:54:00:00:00:0a", "52:54:00:00:00:0b"
INTERFACES = """auto lo
iface lo inet loopback
# a spare
iface ens9 inet manual
auto ens10
iface ens10 inet static
    address 10.0.0.5/24
    gateway 10.0.0.1
    up echo up
auto ens3
iface ens3 inet dhcp
auto br0
iface br0 inet dhcp
    bridge_ports ens3
"""
NETPLAN = """network:
  version: 2
  ethernets:
    ens4: {addresses: [10.0.0.5/24], gateway4: 10.0.0.1}
    wan: {match: {macaddress: "52:54:00:00:00:0A"}, set-name: wan, dhcp4: true}
"""


def test_interfaces_names_those_that_come_up_by_themselves_first() -> None:
    assert network_names.in_interfaces(INTERFACES) == Names({}, ("ens10", "ens3", "ens9"))


def test_netplan_tells_tied_from_loose() -> None:
    assert network_names.in_netplan(NETPLAN) == Names({A: "wan"}, ("ens4",))


def test_malformed_netplan_names_nothing() -> None:
    for text in ("network: [", "- a\n- b\n", "network: 3", "", "network: {ethernets: {ens3: 5}}"):
        assert network_names.in_netplan(text) == Names({}, ())


def test_networkd_and_network_manager() -> None:
    assert network_names.in_networkd("[Match]\nName=ens3\n[Network]\nDHCP=yes\n") == Names({}, ("ens3",))
    assert network_names.in_networkd(f"[Match]\nMACAddress={A}\n[Link]\nName=lan\n") == Names({A: "lan"})
    assert network_names.in_networkd("[Match]\nName=en*\n") == Names({})
    assert network_names.in_networkd("[connection]\ntype=ethernet\ninterface-name=ens3\n") == Names({}, ("ens3",))


def test_udev_rules_tie_names() -> None:
    rule = f'SUBSYSTEM=="net", ACTION=="add", ATTR{{address}}=="{A}", KERNEL=="eth*", NAME="eth0"\n'
    assert network_names.in_udev_rules(rule) == Names({A: "eth0"})


def test_loose_names_go_to_nics_in_their_natural_order() -> None:
    assert network_names.assign([Names({}, ("ens10", "ens3"))], [A, B]) == {A: "ens3", B: "ens10"}


def test_tied_names_go_first() -> None:
    assert network_names.assign([Names({B: "lan"}), Names({}, ("ens3", "lan"))], [A, B]) == {A: "ens3", B: "lan"}


def test_one_nic_gets_the_name_that_comes_up_by_itself() -> None:
    assert network_names.assign(
        [network_names.in_interfaces("iface ens9 inet dhcp\nauto ens3\niface ens3 inet dhcp\n")], [A]
    ) == {A: "ens3"}


def test_a_hostile_name_is_no_name() -> None:
    assert network_names.in_interfaces("iface ../../etc inet dhcp\niface a/b inet dhcp\n") == Names({}, ())


def test_interfaces_static_becomes_dhcp_for_one_name() -> None:
    after = dhcp.interfaces(INTERFACES, "ens10")
    assert "iface ens10 inet dhcp\n    up echo up\nauto ens3\n" in after
    assert "10.0.0" not in after
    assert dhcp.interfaces(after, "ens10") == after


def test_netplan_static_becomes_dhcp() -> None:
    after = dhcp.netplan(NETPLAN, "ens4")
    assert network_names.ethernets(after)["ens4"] == {"dhcp4": True}
    assert dhcp.netplan(after, "ens4") == after


def test_networkd_static_becomes_dhcp() -> None:
    text = "[Match]\nName=ens3\n\n[Network]\nAddress=10.0.0.5/24\nGateway=10.0.0.1\n"
    assert dhcp.networkd(text, "ens3") == "[Match]\nName=ens3\n\n[Network]\nDHCP=yes\n"
    assert dhcp.networkd(text, "ens4") == text
