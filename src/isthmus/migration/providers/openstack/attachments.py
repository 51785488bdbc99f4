"""Reaching a volume's bytes: attached by Cinder's own API, as Nova does it, and served over NBD on the worker.

Cinder's answer to an attachment says where the volume is. Volumes that are files of a share are opened where the
worker has that share mounted. An attachment carries the UUID of its owner in place of a server's, so that it is found
again after a crash, and Cinder itself keeps a second owner, or Nova, from attaching the volume meanwhile.
"""

import re
import socket
from collections.abc import Sequence
from typing import Any

from isthmus.control.errors import Conflict, InvalidInput, StepFailed, Unavailable
from isthmus.migration.providers.images.exports import Exports, Record, Served
from isthmus.migration.providers.images.formats import ImageFile, ImageFormat, open_image
from isthmus.migration.providers.openstack import names
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import sdk, translated

READ_ONLY, READ_WRITE = "ro", "rw"
_MICROVERSION = "3.54"
_SHARED_FILE = "nfs"
_FILE = re.compile(r"^volume-[0-9a-f-]{36}(?:\.[0-9a-f-]{36})?$")


def exports(cloud: Cloud) -> Exports:
    """Return the exports of the worker's runtime directory for this cloud."""
    return Exports(cloud.runtime)


def attach(cloud: Cloud, volume_id: str, owner: str, mode: str) -> ImageFile:
    """Attach a volume for `owner`, and return the file that it is. Already done: it is attached by the same owner.

    Raises `Conflict` if somebody else has it, `StepFailed` for a kind of volume that the worker cannot reach.
    """
    attacher = names.attacher(owner)
    with translated(f"volume {volume_id}"):
        present = list(cloud.volumes.attachments(volume_id=volume_id))
        mine = next((each for each in present if cloud_instance(each) == attacher), None)
        if mine is None and present:
            raise Conflict(f"volume {volume_id} is attached elsewhere; try again when that has ended")
        mine = cloud.volumes.get_attachment(mine.id) if mine else _create(cloud, volume_id, attacher, mode)
        if mine.status != "attached":
            cloud.volumes.complete_attachment(mine.id)
    return _file(cloud, volume_id, dict(mine.connection_info or {}))


def detach_all(cloud: Cloud, owner: str) -> None:
    """Detach all that `owner` has attached. Already done: nothing is."""
    attacher = names.attacher(owner)
    with translated(f"attachments of {owner}"):
        for attachment in list(cloud.volumes.attachments(instance_id=attacher)):
            if cloud_instance(attachment) == attacher:
                cloud.volumes.delete_attachment(attachment.id, ignore_missing=True)


def cloud_instance(attachment: Any) -> str | None:
    """Return the UUID of the server, or of the owner, that an attachment is for."""
    found = attachment.instance
    return str(found) if found else None


def answering(cloud: Cloud, record: Record) -> Served | None:
    """Return the export of this very record if it still answers."""
    servers = exports(cloud)
    with servers.locked():
        return servers.answering(record) if servers.find(record.owner) == record else None


def serve(cloud: Cloud, record: Record, volume_ids: Sequence[str], *, mode: str, owner: str) -> Served:
    """Attach volumes and serve them, or return the same record's export that still answers."""
    if served := answering(cloud, record):
        return served
    images = [attach(cloud, volume_id, owner, mode) for volume_id in volume_ids]
    servers = exports(cloud)
    with servers.locked():
        servers.refuse_taken(record.owner, record.disks)
        if servers.find(record.owner) == record and (served := servers.answering(record)):
            return served
        return servers.start(record, images)


def stop(cloud: Cloud, record_owner: str, owner: str) -> None:
    """Stop serving and detach. Already done: neither is."""
    servers = exports(cloud)
    with servers.locked():
        servers.stop(record_owner)
    detach_all(cloud, owner)


def _create(cloud: Cloud, volume_id: str, attacher: str, mode: str) -> Any:
    connector = {"host": socket.gethostname(), "ip": "127.0.0.1", "multipath": False, "os_type": "linux", "mode": mode}
    try:
        return cloud.volumes.create_attachment(
            volume_id, instance=attacher, connector=connector, mode=mode, microversion=_MICROVERSION
        )
    except sdk().BadRequestException as error:
        # Cinder's words for a volume that is not available.
        raise Conflict(f"volume {volume_id} cannot be attached ({error.details}); it may be in use") from error


def _file(cloud: Cloud, volume_id: str, info: dict[str, Any]) -> ImageFile:
    kind = info.get("driver_volume_type")
    if kind != _SHARED_FILE:
        raise StepFailed(
            f"volume {volume_id} is of kind {kind!r}, and only volumes that are files of a share ({_SHARED_FILE}) "
            "can be reached: choose another volume type"
        )
    share, name = str(info.get("export")), str(info.get("name"))
    directory = cloud.file_shares.get(share)
    if directory is None:
        known = ", ".join(cloud.file_shares) or "none"
        raise InvalidInput(
            f"volume {volume_id} is on share {share} of {cloud.label}, and the worker has of that cloud: {known}. Have "
            "its operator mount the share, and name it by file_shares in [worker]"
        )
    if not _FILE.match(name):
        raise StepFailed(f"volume {volume_id} has the file name {name!r}, which is none of Cinder's")
    if not directory.is_dir():
        raise Unavailable(f"{directory} is not there: mount share {share} on the worker")
    return open_image(directory / name, ImageFormat(str(info.get("format") or "raw")))
