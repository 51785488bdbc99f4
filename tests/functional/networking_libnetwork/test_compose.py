"""docker-compose: a project's networks on Neutron's, its services by name."""

from pathlib import Path

from lab import network_image
from lab.docker_networks import DRIVER, DockerNetworks
from lab.network_host import wait_for

FILE = f"""\
version: "2.4"
services:
  front:
    image: {network_image.NAME}
    command: sleep 100000
    init: true
    networks: [inner]
  back:
    image: {network_image.NAME}
    command: sleep 100000
    init: true
    networks:
      inner:
        ipv4_address: 10.72.0.72
networks:
  inner:
    driver: {DRIVER}
    driver_opts:
      isthmus.project: demo2
    ipam:
      driver: {DRIVER}
      options:
        isthmus.project: demo2
      config:
        - subnet: 10.72.0.0/24
"""


def test_a_compose_project_is_brought_up_and_down(networks: DockerNetworks, tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text(FILE)
    socket = f"unix://{networks.docker.socket}"
    compose = ("docker-compose", "-H", socket, "-p", "shop", "-f", str(tmp_path / "compose.yml"))
    try:
        networks.host.run(*compose, "up", "-d", limit=300)
        project = networks.cloud.identity.find_project("demo2").id
        assert networks.neutron_network("shop_inner").project_id == project
        pings = networks.docker.command("exec", "shop_front_1", "ping", "-c1", "-W2", "back")
        wait_for("the service answers by its name", lambda: networks.host.succeeds(*pings))
        assert networks.address("shop_back_1", "shop_inner") == "10.72.0.72"
    finally:
        networks.host.run(*compose, "down", "-t", "1", limit=300)
