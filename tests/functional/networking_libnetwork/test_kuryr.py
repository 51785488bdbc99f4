"""Kuryr itself, and the agent in its place."""

from lab.docker_kuryr import kuryr
from lab.docker_networks import DockerNetworks
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground


def test_a_network_that_kuryr_made_is_adopted(networks: DockerNetworks, network_playground: NetworkPlayground) -> None:
    networks.driver = "kuryr"
    with kuryr(network_playground):
        networks.make("old", "10.70.0.0/24", words=("--gateway", "10.70.0.1"))
        networks.start("k1", "old")
        made = networks.neutron_network("old")
        kept = networks.address("k1", "old")
        networks.remove("k1")
        networks.docker.kill()

    networks.host.run("ln", "-s", "isthmus.sock", "/run/docker/plugins/kuryr.sock")
    networks.docker.start()
    networks.start("i1", "old", "--ip", kept)
    networks.start("i2", "old")

    assert networks.port("i1", "old").network_id == networks.port("i2", "old").network_id == made.id
    networks.wait_ping("i2", kept)
    for name in ("i1", "i2"):
        networks.remove(name)
    networks.remove_network("old")
    wait_for("Kuryr's network is gone", lambda: networks.cloud.network.find_network(made.id) is None)
    networks.host.run("rm", "/run/docker/plugins/kuryr.sock")
