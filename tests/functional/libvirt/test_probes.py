"""Boot probes that ask the machine itself: a real guest agent, and a TCP port at an address that nobody told."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest
from lab.clouds import LibvirtCloud
from lab.tiny_guest import TinyGuest, build_disks, domain_xml
from tests.libvirt_fixtures import BOOT_SECONDS, Clouds, Notes, clouds

from isthmus.migration.machine import BootProbe, DeployedMachine, ProbeType

__all__ = ["clouds"]
_TCP = """
import json, sys
from tests.libvirt_fixtures import Notes
from isthmus.migration.machine import BootProbe, DeployedMachine, ProbeType
from isthmus.migration.providers.libvirt.provider import LibvirtProvider
asked = json.loads(sys.argv[1])
with LibvirtProvider(asked["details"]) as provider:
    probe = BootProbe(ProbeType.TCP, port=asked["port"], timeout_seconds=asked["seconds"])
    result = provider.boot_machine(DeployedMachine(asked["id"], "probed"), probe, Notes())
    print(json.dumps([result.passed, result.saw]))
"""


@pytest.fixture
def machine(clouds: Clouds) -> Iterator[DeployedMachine]:
    """A machine as a deployment makes it, with the channel of the guest agent."""
    name = "probed"
    disks = build_disks(clouds.west.pool_directory, TinyGuest(agent=True), name=name)
    with closing(clouds.west.connect()) as connection:
        connection.storagePoolLookupByName("default").refresh()
        tree = domain_xml(name, disks, "qcow2")
        channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices>"
        domain = connection.defineXML(tree.replace("</devices>", channel))
        yield DeployedMachine(domain.UUIDString(), name)
        if domain.isActive():
            domain.destroy()
        domain.undefine()
    for disk in disks:
        disk.unlink()


def _tcp(cloud: LibvirtCloud, machine: DeployedMachine, port: int, seconds: int) -> tuple[bool, str]:
    """Probe from within the cloud's network, where the machine's address leads somewhere."""
    asked = {"details": cloud.connection, "id": machine.id, "port": port, "seconds": seconds}
    command = ("env", f"PYTHONPATH={':'.join(sys.path)}", sys.executable, "-c", _TCP, json.dumps(asked))
    done = cloud.run(*command, timeout_seconds=BOOT_SECONDS + 60)
    assert done.returncode == 0, done.stderr
    passed, saw = json.loads(done.stdout)
    return bool(passed), str(saw)


def test_the_agent_and_a_port_of_a_living_machine_are_seen(clouds: Clouds, machine: DeployedMachine) -> None:
    agent = BootProbe(ProbeType.GUEST_AGENT, timeout_seconds=BOOT_SECONDS)
    result = clouds.destination.boot_machine(machine, agent, Notes())
    assert (result.passed, result.saw) == (True, "guest agent: answered a ping"), result
    passed, saw = _tcp(clouds.west, machine, 7, BOOT_SECONDS)
    assert passed, saw
    assert saw.startswith("tcp: 192.168.120.")
    assert saw.endswith(" port 7 answered")
    assert _tcp(clouds.west, machine, 9, 3) == (False, "no answer on TCP port 9 in time")
