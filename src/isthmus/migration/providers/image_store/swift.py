"""A container of an OpenStack object store: its objects are the files of a directory, `/` in their names parts them.

A file of more than 1 GiB becomes a static large object: its parts are objects, too, under `.isthmus/parts/`, and what
stands under its own name is their list. So it appears whole, and goes with its parts.
"""

import contextlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from isthmus.control.errors import NotFound, Unavailable
from isthmus.migration.providers.image_store.contract import (
    FILE_NAME,
    HIDDEN,
    MOST_OBJECTS,
    Part,
    Sending,
    Store,
    Stored,
    Watch,
    streamed,
)
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import sdk, translated

SEGMENT_BYTES = 1 << 30
_PAGE = 1000
_MD5 = re.compile(r"^[0-9a-f]{32}$")


class SwiftStore(Store):
    """One container."""

    kind: ClassVar[str] = "swift"

    def __init__(self, cloud: Cloud, container: str) -> None:
        self.cloud = cloud
        self._container = container

    @property
    def label(self) -> str:
        """The container and its cloud."""
        return f"container {self._container} of {self.cloud.label}"

    def close(self) -> None:
        """Close the connection to the cloud."""
        self.cloud.close()

    def check(self) -> None:
        """Look whether the container is there."""
        self._call("HEAD", "", self.label)

    def listing(self) -> Sequence[Stored]:
        """Return the objects at the top and one level below, but ours."""
        files = (each for each in self._objects("") if FILE_NAME.match(each["name"]))
        found = [_stored(each) for each in itertools.islice(files, MOST_OBJECTS)]
        return [each for each in found if not each.key.startswith(f"{HIDDEN}/")]

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Ask for a range."""
        ranged = {"Range": f"bytes={offset}-{offset + length - 1}"}
        return bytes(self._call("GET", f"/{quote(key)}", self._of(key), headers=ranged).content)

    def pieces(self, key: str) -> Iterator[bytes]:
        """Read the object as a stream."""
        yield from streamed(self._call("GET", f"/{quote(key)}", self._of(key), stream=True), self._of(key))

    def put(self, part: Part, watch: Watch) -> None:
        """Upload a file, in parts if it is large."""
        size = part.file.stat().st_size
        if size <= SEGMENT_BYTES:
            self._put(part.key, Sending(part.file, watch, "md5"))
            return
        segments = []
        for number, offset in enumerate(range(0, size, SEGMENT_BYTES)):
            key, length = f"{_parts_of(part.key)}{number:05}", min(SEGMENT_BYTES, size - offset)
            etag = self._put(key, Sending(part.file, watch, "md5", offset, length))
            segments.append({"path": f"/{self._container}/{key}", "etag": etag, "size_bytes": length})
        place = f"/{quote(part.key)}?multipart-manifest=put"
        self._call("PUT", place, self._of(part.key), data=json.dumps(segments).encode())

    def delete(self, key: str) -> None:
        """Delete the object, with its parts if it has some."""
        self._delete(f"/{quote(key)}?multipart-manifest=delete", f"/{quote(key)}", key=key)
        for part in list(self._objects(_parts_of(key))):
            self._delete(f"/{quote(part['name'])}", key=key)

    def _delete(self, *places: str, key: str) -> None:
        with contextlib.suppress(NotFound):
            for place in places:
                self._call("DELETE", place, self._of(key))

    def _objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        """Yield what Swift says of all objects whose names begin so."""
        marker, asked = "", f"?format=json&limit={_PAGE}&prefix={quote(prefix, safe='')}"
        while page := self._call("GET", f"{asked}&marker={quote(marker, safe='')}", self.label).json():
            yield from (each for each in page if "name" in each)
            if len(page) < _PAGE:
                return
            marker = page[-1]["name"]

    def _put(self, key: str, data: Sending) -> str:
        """Make one object; return the MD5 of what has arrived."""
        answer = self._call("PUT", f"/{quote(key)}", self._of(key), data=data)
        etag = str(answer.headers.get("Etag", "")).strip('"')
        if etag != data.digest:
            raise Unavailable(f"{self._of(key)} did not arrive whole; it will be tried again")
        return etag

    def _of(self, key: str) -> str:
        return f"object {key} in {self.label}"

    def _call(self, method: str, place: str, subject: str, **options: Any) -> Any:
        with translated(subject):
            answer = self.cloud.objects.request(f"/{quote(self._container)}{place}", method, **options)
            sdk().raise_from_response(answer)
            return answer


def _parts_of(key: str) -> str:
    """Return what the names of a large object's parts begin with."""
    return f"{HIDDEN}/parts/{key}/"


def _stored(facts: dict[str, Any]) -> Stored:
    etag = str(facts["hash"]).strip('"')
    # The ETag of a large object is the MD5 of its parts' MD5s.
    is_plain = bool(_MD5.match(etag)) and "slo_etag" not in facts
    name, size = facts["name"], int(facts["bytes"])
    return Stored(name, name, size, "md5", etag) if is_plain else Stored(name, name, size)
