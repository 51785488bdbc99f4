"""Containers of a real object store, whose Keystone is the run's control plane's."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openstack
from lab.control_plane import ControlPlane
from lab.object_store import ObjectStore

REGION = "RegionOne"


def auth_of(environment: dict[str, str]) -> dict[str, str]:
    """Return the credentials of OS_* variables, as clouds.yaml has them."""
    names = ("auth_url", "username", "password", "project_name")
    found = {name: environment[f"OS_{name.upper()}"] for name in names}
    return {**found, "user_domain_id": "default", "project_domain_id": "default"}


class Containers:
    """The containers of the plain user's project."""

    def __init__(self, plane: ControlPlane) -> None:
        environment = plane.demo_environment
        self._region = environment.get("OS_REGION_NAME", REGION)
        self._auth = auth_of(environment)
        self.swift: Any = openstack.connection.Connection(auth=self._auth, region_name=self._region).object_store

    def connection(self, container: str) -> dict[str, Any]:
        """Return connection details for Isthmus' image-store provider."""
        return {"auth": self._auth, "region_name": self._region, "kind": "swift", "container": container}

    @contextmanager
    def made(self, *names: str) -> Iterator[Sequence[dict[str, Any]]]:
        """Make containers and give their connection details; they are emptied and deleted afterwards."""
        for name in names:
            self.swift.create_container(name)
        try:
            yield [self.connection(name) for name in names]
        finally:
            for name in names:
                for each in self.names(name):
                    self.swift.delete_object(each, container=name)
                self.swift.delete_container(name)

    def names(self, container: str) -> list[str]:
        """Return the names of all objects, hidden ones too."""
        return [each.name for each in self.swift.objects(container)]

    def fill(self, container: str, place: Path) -> None:
        """Put all files below a directory into a container."""
        for file in sorted(each for each in place.rglob("*") if each.is_file()):
            self.put(container, str(file.relative_to(place)), file)

    def put(self, container: str, name: str, file: Path) -> None:
        """Put one file into a container."""
        answer = self.swift.put(f"/{container}/{name}", data=file.read_bytes())
        assert answer.status_code == 201, answer.text

    def read(self, container: str, name: str) -> bytes:
        """Return an object's content."""
        return bytes(self.swift.get(f"/{container}/{name}").content)


@contextmanager
def object_store_of(plane: ControlPlane) -> Iterator[Containers]:
    """Run an object store beside a control plane; give the plain user's containers in it."""
    environment = plane.admin_environment
    with ObjectStore(auth_of(environment), environment.get("OS_REGION_NAME", REGION)):
        yield Containers(plane)


def staged(staging: Path) -> list[str]:
    """Return what lies in a worker's staging directory of images."""
    return sorted(str(each.relative_to(staging)) for each in staging.rglob("*") if each.is_file())


def raw_of(image: bytes, place: Path, image_format: str = "qcow2") -> bytes:
    """Return the disk that an image holds."""
    file, raw = place / "image", place / "raw"
    file.write_bytes(image)
    subprocess.run(["qemu-img", "convert", "-f", image_format, "-O", "raw", str(file), str(raw)], check=True)
    return raw.read_bytes()
