"""Glance: each image of a format that is read is a machine of one disk, or an OVA archive."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from isthmus.control.errors import InvalidInput, StepFailed, Unavailable
from isthmus.migration.machine import Firmware
from isthmus.migration.providers.image_store.contract import ImageFacts, Part, Sending, Store, Stored, Watch, streamed
from isthmus.migration.providers.images.formats import ImageFormat
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import sdk, translated

_PARTIAL = 206
_HASH = "sha512"
_OUR_READINGS = "isthmus-reading-"
_MOST_OURS = 1000
KEY, DEPLOYMENT, MACHINE, VOLUME = (f"isthmus_{name}" for name in ("key", "deployment", "machine", "volume"))
"""Properties of an image of ours: under what key it was put, which deployment made it, of which machine and replica."""


class GlanceStore(Store):
    """The images that a project sees."""

    kind: ClassVar[str] = "glance"

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud

    @property
    def label(self) -> str:
        """Glance and its cloud."""
        return f"Glance of {self.cloud.label}"

    def close(self) -> None:
        """Close the connection to the cloud."""
        self.cloud.close()

    def check(self) -> None:
        """Ask for one image."""
        self._call("GET", "/images?limit=1", self.label)

    def listing(self) -> Sequence[Stored]:
        """Return the images that are whole and of a known format."""
        with translated(self.label):
            images = list(self.cloud.images.images(status="active"))
        found = [_stored(each) for each in images if not str(each.name).startswith(_OUR_READINGS)]
        return sorted((each for each in found if each), key=lambda each: each.key)

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Ask for a range; where Glance gives none, the begin of the whole is read."""
        ranged = {"Range": f"bytes={offset}-{offset + length - 1}"}
        answer = self._call("GET", f"/images/{key}/file", self._of(key), headers=ranged, stream=True)
        if answer.status_code != _PARTIAL and offset:
            answer.close()
            raise InvalidInput(f"{self._of(key)} is given whole only; put it into a directory or an object store")
        found = bytearray()
        with contextlib.closing(streamed(answer, self._of(key))) as pieces:
            while len(found) < length and (piece := next(pieces, b"")):
                found += piece
        return bytes(found[:length])

    def pieces(self, key: str) -> Iterator[bytes]:
        """Read the image's data as a stream."""
        yield from streamed(self._call("GET", f"/images/{key}/file", self._of(key), stream=True), self._of(key))

    def put(self, part: Part, watch: Watch) -> None:
        """Make an image. One of the same key is deleted first: an image's data cannot be replaced."""
        for before in self.ours(KEY, part.key):
            self.delete(before["id"])
        wanted = {"container_format": "bare", "visibility": "private", KEY: part.key, **part.facts}
        made = self._call("POST", "/images", f"image {part.key}", json=wanted).json()
        data, kind = Sending(part.file, watch, _HASH), {"Content-Type": "application/octet-stream"}
        self._call("PUT", f"/images/{made['id']}/file", self._of(made["id"]), data=data, headers=kind)
        with translated(self._of(made["id"])):
            image = self.cloud.images.get_image(made["id"])
        if image.status != "active":
            raise StepFailed(f"{self._of(image.id)} has status {image.status} after its upload; see Glance's log")
        if image.size != data.length or (image.hash_algo == _HASH and image.hash_value != data.digest):
            raise Unavailable(f"{self._of(image.id)} did not arrive whole; it will be tried again")

    def delete(self, key: str) -> None:
        """Delete an image."""
        with translated(self._of(key)):
            self.cloud.images.delete_image(key, ignore_missing=True)

    def ours(self, name: str, value: str) -> list[dict[str, Any]]:
        """Return the project's images with this property, whole or not, in Glance's own words."""
        asked = urlencode({"owner": self.cloud.project_id, name: value, "limit": _MOST_OURS})
        found: list[dict[str, Any]] = self._call("GET", f"/images?{asked}", f"images of {self.label}").json()["images"]
        return found

    def _of(self, key: str) -> str:
        return f"image {key} in {self.label}"

    def _call(self, method: str, place: str, subject: str, **options: Any) -> Any:
        with translated(subject):
            answer = self.cloud.images.request(place, method, **options)
            sdk().raise_from_response(answer)
            return answer


def _stored(image: Any) -> Stored | None:
    """Return an image as the place's contract has it; None if it is none that is read."""
    ending = "ova" if image.container_format == "ova" else image.disk_format
    if image.size is None or (ending != "ova" and ending not in {each.value for each in ImageFormat}):
        return None
    # The SDK knows some properties by name and keeps the others apart.
    firmware = {"uefi": Firmware.EFI, "bios": Firmware.BIOS}.get(str(image.properties.get("hw_firmware_type")))
    facts = ImageFacts(
        name=str(image.name or image.id),
        memory_mb=int(image.min_ram or 0) or None,
        firmware=firmware,
        os_type=image.os_type if image.os_type in ("linux", "windows") else None,
    )
    return Stored(
        image.id,
        f"{image.id}.{ending}",
        int(image.size),
        str(image.hash_algo or ""),
        str(image.hash_value or ""),
        facts,
    )
