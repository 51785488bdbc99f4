"""The provider of images that are no files: they are staged on the worker, and there they are files like any others.

So it is the images provider with another beginning and another end. A replica stays in the staging directory from its
first pass until its machine is deployed, as there is no image in the place before: an increment then writes what has
changed.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from isthmus.control.errors import InvalidInput, NotFound, StepFailed, Unavailable
from isthmus.control.loopback import is_loopback
from isthmus.migration import patterns
from isthmus.migration.machine import (
    BootProbe,
    DeployedMachine,
    DestinationDisk,
    Machine,
    NicMapping,
    ProbeResult,
    ProbeType,
    StorageBackend,
)
from isthmus.migration.providers.contract import Environment, Reading
from isthmus.migration.providers.image_store import schemas, staging, uploading
from isthmus.migration.providers.image_store.contract import Store
from isthmus.migration.providers.image_store.describing import Described, Shelf
from isthmus.migration.providers.image_store.glance import GlanceStore
from isthmus.migration.providers.image_store.swift import SwiftStore
from isthmus.migration.providers.images import catalogue, inspection, publishing, reading
from isthmus.migration.providers.images.provider import ImagesProvider
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.reporting import Report, Silence


class ImageStoreProvider(ImagesProvider):
    """The images of one Glance, or of one container or bucket of an object store, as source and as destination."""

    platform: ClassVar[str] = "image-store"

    def _place(self) -> Path:
        """Return where what is made for this place lies until it is there; an empty directory stays."""
        self._store = self._connect()
        details, auth = self.connection, self.connection["auth"]
        place: tuple[Any, ...]
        if details["kind"] == "s3":
            place = ("s3", details.get("endpoint_url"), details["bucket"], auth["access_key_id"])
        else:
            place = (
                *(details["kind"], auth["auth_url"], details.get("container")),
                *(auth.get(key) for key in _OWNERS),
                # Only those that are given, so that a place without them is where older workers have it.
                *((key, given[key]) for given in (auth, details) for key in _WITHIN if given.get(key)),
            )
        root = self.premises.staging / f"store-{hashlib.sha256(repr(place).encode()).hexdigest()[:16]}"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{root} cannot be made ({error.strerror}): see staging_dir in [worker]") from error
        return root

    def _connect(self) -> Store:
        kind = self.connection["kind"]
        if kind == "s3":
            # botocore takes 40 MB and a second, so only where there is one.
            from isthmus.migration.providers.image_store.s3 import S3Store  # noqa: PLC0415

            return S3Store(self.connection)
        cloud = Cloud(self.connection, self.premises)
        if kind == GlanceStore.kind:
            return GlanceStore(cloud)
        return SwiftStore(cloud, str(self.connection["container"]))

    def close(self) -> None:
        """Close the connection."""
        self._store.close()

    @classmethod
    def connection_schema(cls) -> dict[str, Any]:
        """Return the schema of the connection details."""
        return schemas.CONNECTION

    @classmethod
    def is_local(cls, connection: Mapping[str, Any]) -> bool:
        """Tell whether it leads to an S3 store of this machine."""
        return is_loopback(urlsplit(str(connection.get("endpoint_url") or "")).hostname or "")

    def validate_connection(self) -> None:
        """Look at the place as its owner."""
        self._store.check()

    def list_machines(self, name_pattern: str | None = None) -> Sequence[Machine]:
        """Return what can be a machine, by the names of objects alone."""
        wanted = patterns.names(name_pattern)
        return [machine for machine in Shelf(self._store).machines() if wanted.is_in(machine.name)]

    def get_machine(self, instance: str) -> Machine:
        """Return one machine by its object's key or name, or a deployed one."""
        # First, as what is staged here is not for somebody who only claims to be its owner.
        self._store.check()
        directory, _, file = instance.partition("/")
        if file == f"{directory}.ovf":
            if publishing.read_mark(self._root / directory):
                return catalogue.find(self._root, instance).machine
            if uploaded := uploading.find(self._store, directory):
                return replace(self._described(uploaded.key).machine, id=instance)
        return self._described(instance).machine

    def list_storage(self) -> tuple[Sequence[StorageBackend], str | None]:
        """Return the place; what is free is what the worker can stage."""
        return [catalogue.storage(self._root)], catalogue.STORAGE

    def validate_source(self, instance: str, environment: Environment) -> Machine:
        """Return the machine if it can be staged. Whether its images are whole is seen when they are."""
        found = self._described(instance)
        if not found.machine.disks:
            raise InvalidInput(f"machine {found.machine.name} has no disk to move; choose another")
        staging.check_space(self.premises.staging, found)
        return catalogue.with_wishes(found.machine, environment)

    def open_reading(
        self,
        transfer_id: str,
        instance: str,
        environment: Environment,  # noqa: ARG002 - the contract's
        *,
        point: str,
        since: str | None,
        report: Report,
    ) -> Reading:
        """Stage the machine's images, see that they are whole, and serve them."""
        root = self._staged(transfer_id, instance)
        # What is staged is the reading: an object that is replaced meanwhile is none of its business.
        first = staging.staged(root) or self._stage(instance, root, report)
        found = catalogue.find(root, str(first.relative_to(root)))
        wanted = reading.Wanted(transfer_id, instance, point, since)
        return reading.open_reading(self._exports, found, wanted, report)

    def _stage(self, instance: str, root: Path, report: Report) -> Path:
        described = self._described(instance)
        first = staging.stage(self._store, described, root, report)
        found = catalogue.find(root, str(first.relative_to(root)))
        for image, disk in zip(found.images, described.machine.disks, strict=True):
            inspection.refuse_broken(image)
            if (size := inspection.virtual_size(image)) != disk.size_bytes:
                raise StepFailed(
                    f"{image.label} of {instance} holds {size} bytes, and its header says {disk.size_bytes}: get it "
                    "again"
                )
        return first

    def close_reading(self, transfer_id: str, instance: str, *, keep: str | None) -> None:  # noqa: ARG002 - nothing to keep
        """Stop serving and remove what was staged."""
        reading.close_reading(self._exports, transfer_id, instance)
        staging.unstage(self._staged(transfer_id, instance))

    def shut_down(self, instance: str, environment: Environment, report: Report) -> bool:  # noqa: ARG002 - the contract's
        """Return that it was off."""
        self._described(instance)
        return False

    def create_machine(
        self,
        deployment_id: str,
        machine: Machine,
        environment: Environment,
        disks: Sequence[DestinationDisk],
        nics: Sequence[NicMapping],
    ) -> DeployedMachine:
        """Make the machine's directory, here still."""
        made = publishing.create_machine(
            self._replicas,
            deployment_id,
            machine=machine,
            environment=environment,
            disks=disks,
            nics=nics,
            is_taken=lambda name: uploading.is_there(self._store, name),
        )
        return replace(made, details={**made.details, **uploading.facts_of(machine, environment, disks)})

    def boot_machine(self, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:
        """Put the machine into its place. Nothing is started."""
        if probe.type is not ProbeType.NONE:
            return publishing.boot_machine(self._replicas, deployed, probe)
        uploading.upload(self._store, self._replicas, deployed, report)
        if uploading.find(self._store, deployed.name) is None:
            raise NotFound(f"machine {deployed.name} is not in {self._store.label}; deploy it again")
        return ProbeResult(True, f"the images are whole in {self._store.label}; nothing is started there", 0.0)

    def delete_machine(self, deployment_id: str, machine_name: str) -> None:
        """Remove the machine, from here and from its place."""
        uploading.withdraw(self._store, self._replicas, deployment_id, machine_name, Silence())
        publishing.delete_machine(self._replicas, deployment_id, machine_name)

    def _described(self, instance: str) -> Described:
        return Shelf(self._store).find(instance)

    def _staged(self, transfer_id: str, instance: str) -> Path:
        name = hashlib.sha256(f"{transfer_id}\0{instance}\0{self._root.name}".encode()).hexdigest()[:16]
        return self.premises.staging / f"reading-{name}"


_OWNERS = (
    "project_id",
    "project_name",
    "application_credential_id",
    "application_credential_name",
    "user_id",
    "username",
)
_WITHIN = ("project_domain_id", "project_domain_name", "user_domain_id", "user_domain_name", "region_name")
"""Names of projects and users are their domains' own, a container is its region's."""
