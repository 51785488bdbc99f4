"""Containers and buckets of a real object store, whose Keystone is the run's control plane's."""

import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

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

    def __init__(self, plane: ControlPlane, store: ObjectStore) -> None:
        environment = plane.demo_environment
        self._plane, self._store = plane, store
        self._region = environment.get("OS_REGION_NAME", REGION)
        self._auth = auth_of(environment)
        self._cloud: Any = openstack.connection.Connection(auth=self._auth, region_name=self._region)
        self.swift: Any = self._cloud.object_store

    @cached_property
    def buckets(self) -> "Buckets":
        """The same, as S3 has them."""
        return Buckets(self._plane, self._store)

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
                self.remove(name)

    def remove(self, container: str) -> None:
        """Delete a container with all that is in it."""
        for each in self.names(container):
            self.swift.delete(f"/{container}/{quote(each, safe='')}")
        self.swift.delete_container(container)

    def names(self, container: str) -> list[str]:
        """Return the names of all objects, hidden ones too."""
        return [each.name for each in self.swift.objects(container)]

    def parts(self, container: str) -> list[str]:
        """Return the names of all parts of large objects, whole ones or not."""
        return [each for each in self.names(container) if each.startswith(".isthmus/")]

    def fill(self, container: str, place: Path) -> None:
        """Put all files below a directory into a container."""
        for file in sorted(each for each in place.rglob("*") if each.is_file()):
            self.put(container, str(file.relative_to(place)), file)

    def put(self, container: str, name: str, file: Path) -> None:
        """Put one file into a container."""
        answer = self.swift.put(f"/{container}/{quote(name, safe='')}", data=file.read_bytes())
        assert answer.status_code == 201, answer.text

    def read(self, container: str, name: str) -> bytes:
        """Return an object's content."""
        return bytes(self.swift.get(f"/{container}/{name}").content)


class Buckets(Containers):
    """The same containers by way of S3. What is there besides is looked at by way of Swift."""

    def __init__(self, plane: ControlPlane, store: ObjectStore) -> None:
        super().__init__(plane, store)
        self.keys = keys_of(self._cloud, self._cloud.current_user_id, self._cloud.current_project_id)

    def connection(self, container: str) -> dict[str, Any]:
        """Return connection details for Isthmus' image-store provider."""
        return {
            "kind": "s3",
            "auth": self.keys,
            "endpoint_url": self._store.s3_url,
            "region_name": self._region,
            "bucket": container,
        }

    def remove(self, container: str) -> None:
        """Delete a bucket, and where Swift keeps the parts of its objects."""
        super().remove(container)
        if self._segments(container):
            super().remove(self._segments(container))

    def parts(self, container: str) -> list[str]:
        """Return the names of all parts of large objects, whole ones or not, and of uploads."""
        return self.names(self._segments(container)) if self._segments(container) else []

    def _segments(self, container: str) -> str:
        name = f"{container}+segments"
        return name if name in [each.name for each in self.swift.containers()] else ""

    @contextmanager
    def reader(self) -> Iterator[dict[str, str]]:
        """Make a user who may do nothing with the project's objects; give its keys."""
        environment = self._plane.admin_environment
        admin: Any = openstack.connection.Connection(auth=auth_of(environment), region_name=self._region)
        with closing(admin):
            user = admin.identity.create_user(name="s3-reader", password="reader-s3-reader", domain_id="default")
            try:
                project = admin.identity.find_project(self._auth["project_name"])
                role = admin.identity.find_role("reader") or admin.identity.create_role(name="reader")
                admin.identity.assign_project_role_to_user(project, user, role)
                yield keys_of(admin, user.id, project.id)
            finally:
                admin.identity.delete_user(user)


def keys_of(cloud: Any, user_id: str, project_id: str) -> dict[str, str]:
    """Make EC2 credentials of a user for a project; return them as the provider takes them."""
    answer = cloud.identity.post(f"/users/{user_id}/credentials/OS-EC2", json={"tenant_id": project_id})
    assert answer.status_code == 201, answer.text
    made = answer.json()["credential"]
    return {"access_key_id": made["access"], "secret_access_key": made["secret"]}


@contextmanager
def object_store_of(plane: ControlPlane) -> Iterator[Containers]:
    """Run an object store beside a control plane; give the plain user's containers in it."""
    environment = plane.admin_environment
    with ObjectStore(auth_of(environment), environment.get("OS_REGION_NAME", REGION)) as store:
        yield Containers(plane, store)


@contextmanager
def front_of(url: str, *, certificates: Path | None = None, answers_end_at: int | None = None) -> Iterator[str]:
    """Relay connections to `url`; give the address. With certificates it speaks TLS; answers can be cut, in bytes."""
    target = urlsplit(url)
    context = None
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server-cert.pem", certificates / "server-key.pem")

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                socket.create_connection((target.hostname, target.port)) as there,
                context.wrap_socket(self.request, server_side=True) if context else self.request as here,
            ):
                sending = threading.Thread(target=carry, args=(here, there, None), daemon=True)
                sending.start()
                carry(there, here, answers_end_at)
                # Closing alone would wait for the thread that reads it.
                here.shutdown(socket.SHUT_RDWR)
                sending.join(10)

    def carry(source: socket.socket, sink: socket.socket, left: int | None) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                sink.sendall(piece if left is None else piece[:left])
                if left is not None and (left := left - len(piece)) <= 0:
                    return
            sink.shutdown(socket.SHUT_WR)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"{'https' if context else 'http'}://localhost:{server.server_address[1]}"
        finally:
            server.shutdown()
            serving.join()


def staged(staging: Path) -> list[str]:
    """Return what lies in a worker's staging directory of images."""
    return sorted(str(each.relative_to(staging)) for each in staging.rglob("*") if each.is_file())


def raw_of(image: bytes, place: Path, image_format: str = "qcow2") -> bytes:
    """Return the disk that an image holds."""
    file, raw = place / "image", place / "raw"
    file.write_bytes(image)
    subprocess.run(["qemu-img", "convert", "-f", image_format, "-O", "raw", str(file), str(raw)], check=True)
    return raw.read_bytes()
