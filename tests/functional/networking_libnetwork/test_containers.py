"""Containers on Neutron ports, by Docker's own command."""

from lab import network_image
from lab.docker_networks import DockerNetworks
from lab.network_host import wait_for


def test_a_container_is_on_a_neutron_port(blue: DockerNetworks) -> None:
    endpoint = blue.endpoint("c1", "blue")
    port, network = blue.port("c1", "blue"), blue.neutron_network("blue")

    assert port.name == f"{endpoint['EndpointID']}-port"
    assert port.device_owner == "compute:kuryr"
    assert network.name == f"kuryr-net-{blue.docker.inspect('network', 'blue')['Id'][:8]}"
    link = blue.link("c1")
    assert (link["mtu"], link["address"]) == (network.mtu, port.mac_address)
    assert "default via 10.30.0.1" in blue.execute("c1", "ip", "route")
    wait_for("the port is active", lambda: blue.port("c1", "blue").status == "ACTIVE")


def test_containers_reach_one_another_over_both_families(blue: DockerNetworks) -> None:
    four, six = blue.address("c2", "blue"), blue.endpoint("c2", "blue")["GlobalIPv6Address"]

    assert {fixed["ip_address"] for fixed in blue.port("c2", "blue").fixed_ips} == {four, six}
    blue.wait_ping("c1", four)
    wait_for("ping over IPv6", lambda: blue.docker.tell("exec", "c1", "ping", "-6", "-c1", six).returncode == 0)


def test_docker_knows_the_port(blue: DockerNetworks) -> None:
    body = {"NetworkID": blue.docker.inspect("network", "blue")["Id"]}
    body["EndpointID"] = blue.endpoint("c1", "blue")["EndpointID"]

    status, answer = blue.call("NetworkDriver.EndpointOperInfo", body)

    assert status == 200
    assert answer["Value"]["status"] == "ACTIVE"
    assert answer["Value"]["isthmus.port"] == blue.port("c1", "blue").id


def test_a_container_is_connected_and_disconnected(blue: DockerNetworks) -> None:
    blue.start("extra4", "none")
    blue.docker.run("network", "disconnect", "none", "extra4")

    blue.docker.run("network", "connect", "blue", "extra4")
    blue.wait_ping("extra4", blue.address("c2", "blue"))
    blue.docker.run("network", "disconnect", "blue", "extra4")

    assert not blue.pings("extra4", blue.address("c2", "blue"), 1)
    blue.remove("extra4")


def test_an_address_and_a_mac_can_be_chosen(blue: DockerNetworks) -> None:
    blue.start("extra5", "blue", "--ip", "10.30.0.77", "--mac-address", "02:42:00:aa:bb:cc")

    port = blue.port("extra5", "blue")
    assert "10.30.0.77" in [fixed["ip_address"] for fixed in port.fixed_ips]
    assert blue.link("extra5")["address"] == port.mac_address == "02:42:00:aa:bb:cc"
    blue.wait_ping("extra5", blue.address("c2", "blue"))
    blue.remove("extra5")


def test_an_existing_port_is_taken_and_given_back(blue: DockerNetworks) -> None:
    network = blue.neutron_network("blue")
    fixed = [{"ip_address": "10.30.0.50"}, {"ip_address": "fd00:30::5000"}]
    made = blue.cloud.network.create_port(
        network_id=network.id, name="mine", fixed_ips=fixed, project_id=network.project_id
    )

    blue.start("extra6", "blue", "--ip", "10.30.0.50", "--ip6", "fd00:30::5000")

    assert blue.link("extra6")["address"] == made.mac_address
    blue.remove("extra6")
    wait_for("the port is its owner's", lambda: blue.cloud.network.get_port(made.id).device_id == "")
    assert blue.cloud.network.get_port(made.id).name == "mine"
    blue.cloud.network.delete_port(made.id)


def test_a_published_port_is_reached_on_the_host_and_freed(blue: DockerNetworks) -> None:
    blue.start("web", "blue", "-p", "127.0.0.1:18080:80")
    blue.docker.run("exec", "-d", "web", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc")
    blue.execute("web", "sh", "-c", "echo hello > /etc/page")
    fetch = ("curl", "-sf", "-m", "5", "http://127.0.0.1:18080/page")

    wait_for("the page is served", lambda: blue.host.succeeds(*fetch))
    assert blue.host.run(*fetch).strip() == "hello"
    taken = blue.docker.tell(
        *("run", "--rm", "--network", "blue", "-p", "127.0.0.1:18080:80", network_image.NAME, "true")
    )
    assert "18080" in taken.stderr
    blue.remove("web")
    assert not blue.host.succeeds(*fetch)
