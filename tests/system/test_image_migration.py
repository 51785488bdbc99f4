"""An OVA archive becomes a machine of a libvirt cloud, and that machine disk images again, through the real API."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.clouds import LibvirtCloud
from lab.control_plane import ISTHMUS
from lab.tiny_guest import TinyGuest, build_disks
from tests.image_packages import leftovers_of_images, make_site, pack

Environments = Callable[[str], dict[str, str]]


@dataclass(frozen=True)
class Ends:
    west: LibvirtCloud
    images: dict[str, Any]
    directory: Path


@pytest.fixture
def ends() -> Iterator[Ends]:
    with tempfile.TemporaryDirectory(prefix="/tmp/oi-") as name:
        directory = Path(name)
        with LibvirtCloud("west", directory / "w") as west:
            yield Ends(west, make_site(directory / "site"), directory)


def _isthmus(environment: dict[str, str], *words: str) -> Any:
    done = subprocess.run([ISTHMUS, *words], env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout) if "json" in words else done.stdout


def _register(
    environment: dict[str, str], directory: Path, provider: str, name: str, connection: dict[str, Any]
) -> None:
    file = directory / f"{name}.json"
    file.write_text(json.dumps(connection))
    _isthmus(environment, "endpoint", "create", "--provider", provider, "--name", name, "--connection", str(file))


def _see_definable(cloud: LibvirtCloud, descriptor: Path) -> None:
    text = descriptor.read_text().replace('type="kvm"', 'type="qemu"', 1).replace("<name>tiny<", "<name>read-back<")
    with closing(cloud.connect()) as connection:
        connection.defineXML(text).undefine()


@pytest.mark.timeout(1200)
def test_an_archive_becomes_a_machine_and_a_machine_becomes_images(environment_of: Environments, ends: Ends) -> None:
    environment = environment_of("demo")
    (disk,) = build_disks(ends.directory / "made", TinyGuest(size_mib=64, format="raw"))
    pack(Path(ends.images["path"]), "tiny", disk)
    _register(environment, ends.directory, "images", "img-shelf", ends.images)
    _register(environment, ends.directory, "libvirt", "img-west", ends.west.connection)

    there = _isthmus(
        environment,
        *("migrate", "tiny", "--from", "img-shelf", "--to", "img-west", "--default-network", "default"),
        *("--skip-os-morphing", "--boot-probe", "console:GUEST-UP", "--boot-timeout", "400", "-f", "json"),
    )
    assert "GUEST-UP" in there["probe"]
    assert there["bytes_verified"] >= there["bytes_full"] > 0

    back = _isthmus(
        environment,
        *("migrate", "tiny", "--from", "img-west", "--to", "img-shelf", "--default-network", "default"),
        *("--skip-os-morphing", "-f", "json"),
    )
    assert back["bytes_verified"] >= back["bytes_full"] > 0
    machines = _isthmus(environment, "instance", "list", "--endpoint", "img-shelf", "-f", "json")
    assert sorted(machine["Name"] for machine in machines) == ["tiny", "tiny"]
    (made,) = Path(ends.images["path"]).glob("*/tiny.ovf")
    subprocess.run(["qemu-img", "check", "-q", str(made.parent / "disk1.qcow2")], check=True)
    _see_definable(ends.west, made.with_suffix(".xml"))
    assert not [name for name in leftovers_of_images(ends.images) if not name.startswith(("replica-", "tiny"))]
