"""A bucket of an S3 object store: its objects are the files of a directory, `/` in their names parts them.

A file of more than 64 MiB goes up in parts and appears when the last one is there. An upload that fails is taken back
at once; one whose worker was killed, by the next upload of the same object or by its deletion.

botocore is given all that it needs and takes nothing from the worker: no variable AWS_*, no file of AWS's tools, no
instance's metadata. Each part is sent with its MD5, which every S3 compares; newer checksums not every one knows.
"""

import base64
import contextlib
import hashlib
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.session import Session

from isthmus.control.errors import InvalidInput, IsthmusError, StepFailed, Unavailable
from isthmus.control.loopback import is_loopback
from isthmus.migration.providers.image_store.contract import (
    FILE_NAME,
    HIDDEN,
    MOST_OBJECTS,
    PIECE,
    Part,
    Store,
    Stored,
    Watch,
)
from isthmus.migration.providers.image_store.s3_faults import translated

log = logging.getLogger(__name__)

PART_BYTES = 64 << 20
MOST_PARTS = 1000
"""S3 itself takes 10,000; Swift's takes 1,000."""
FIRST_REGION = "us-east-1"
_CONNECT_SECONDS = 15
_ANSWER_SECONDS = 60
_TRIES = 3
_MD5 = re.compile(r"^[0-9a-f]{32}$")
_CONTENT_RANGE = re.compile(r"^bytes \d+-\d+/\d+$")


class S3Store(Store):
    """One bucket."""

    kind: ClassVar[str] = "s3"

    def __init__(self, connection: Mapping[str, Any]) -> None:
        """Take connection details. Raises `InvalidInput` for an address beyond loopback without TLS."""
        self._details = connection
        self._bucket = str(connection["bucket"])
        self._url: str | None = connection.get("endpoint_url")
        address = urlsplit(self._url or "https://")
        if address.scheme != "https" and not is_loopback(address.hostname or ""):
            raise InvalidInput(
                f"connection_info.endpoint_url {self._url} is without TLS: give an address with https://"
            )
        self._closing = contextlib.ExitStack()

    @property
    def label(self) -> str:
        """The bucket and its store."""
        return f"bucket {self._bucket} of {self._url or 'Amazon S3'}"

    def close(self) -> None:
        """Close the connections and remove the certificates' file."""
        self._closing.close()

    def check(self) -> None:
        """Ask for one name. Raises `InvalidInput` for what is no S3: botocore takes any document for an empty list."""
        if self._call("list_objects_v2", self.label, MaxKeys=1).get("Name") != self._bucket:
            raise InvalidInput(f"{self.label}: what answers there is no S3; correct endpoint_url")

    def listing(self) -> Sequence[Stored]:
        """Return the objects at the top and one level below, but ours."""
        found = (each for page in self._pages("list_objects_v2", self.label) for each in page.get("Contents", ()))
        files = islice((each for each in found if FILE_NAME.match(each["Key"])), MOST_OBJECTS)
        return [
            Stored(each["Key"], each["Key"], int(each["Size"]))
            for each in files
            if not each["Key"].startswith(f"{HIDDEN}/")
        ]

    def read(self, key: str, offset: int, length: int) -> bytes:
        """Ask for a range. Raises `InvalidInput` if the store has none to give."""
        of = self._of(key)
        answer = self._call("get_object", of, Key=key, Range=f"bytes={offset}-{offset + length - 1}")
        with contextlib.closing(answer["Body"]) as body:
            if not _CONTENT_RANGE.match(answer.get("ContentRange") or ""):
                raise InvalidInput(f"{of} is given whole only; put it into another store")
            with translated(of):
                found = bytes(body.read(length))
        if len(found) != min(length, int(answer["ContentLength"])):
            raise Unavailable(f"{of}: the connection broke; it will be tried again")
        return found

    def pieces(self, key: str) -> Iterator[bytes]:
        """Read the object as a stream. Raises `StepFailed` in the end if it is not what its ETag says."""
        of = self._of(key)
        answer = self._call("get_object", of, Key=key)
        digest = hashlib.md5(usedforsecurity=False)
        with contextlib.closing(answer["Body"]) as body:
            while True:
                with translated(of):
                    piece = bytes(body.read(PIECE))
                if not piece:
                    break
                digest.update(piece)
                yield piece
        if (wanted := _content_md5(answer)) and digest.hexdigest() != wanted:
            raise StepFailed(f"{of} did not come whole; try again")

    def put(self, part: Part, watch: Watch) -> None:
        """Upload a file, in parts if it is large."""
        size, of = part.file.stat().st_size, self._of(part.key)
        self._give_up_uploads(part.key)
        with part.file.open("rb") as reading, contextlib.ExitStack() as undo:
            if size <= PART_BYTES:
                self._send("put_object", part.key, Portion(reading, 0, size, watch))
                return
            # Before it is begun: a begin whose answer is lost has begun, too.
            undo.callback(self._undo_uploads, part.key)
            upload = self._call("create_multipart_upload", of, Key=part.key)["UploadId"]
            length = max(PART_BYTES, -(-size // MOST_PARTS))
            parts = []
            for number, offset in enumerate(range(0, size, length), 1):
                portion = Portion(reading, offset, min(length, size - offset), watch)
                etag = self._send("upload_part", part.key, portion, UploadId=upload, PartNumber=number)
                parts.append({"PartNumber": number, "ETag": etag})
            listed = {"Parts": parts}
            self._call("complete_multipart_upload", of, Key=part.key, UploadId=upload, MultipartUpload=listed)
            undo.pop_all()

    def delete(self, key: str) -> None:
        """Delete the object and what an upload has left. A bucket with versions keeps its old ones."""
        self._call("delete_object", self._of(key), Key=key)
        self._give_up_uploads(key)

    def _send(self, operation: str, key: str, portion: "Portion", **more: Any) -> str:
        """Send a portion of a file; return the ETag of what has arrived."""
        try:
            answer = self._call(operation, self._of(key), Key=key, Body=portion, ContentMD5=portion.md5(), **more)
        except IsthmusError:
            # botocore takes what is raised while it reads for a broken connection.
            if portion.stopped:
                raise portion.stopped from None
            raise
        return str(answer["ETag"])

    def _give_up_uploads(self, key: str) -> None:
        """Abort all uploads of this object that are not complete; their parts go with them."""
        pages = self._pages("list_multipart_uploads", self.label, Prefix=key)
        begun = [each for page in pages for each in page.get("Uploads", ()) if each["Key"] == key]
        for each in begun:
            self._call("abort_multipart_upload", self._of(key), Key=key, UploadId=each["UploadId"])

    def _undo_uploads(self, key: str) -> None:
        try:
            self._give_up_uploads(key)
        except IsthmusError as error:
            # What has stopped the upload is the news; the next upload, or the object's deletion, takes this back.
            log.warning("an upload that was cut short is still there: %s", error.message)

    def _pages(self, operation: str, subject: str, **options: Any) -> Iterator[Any]:
        pages = iter(self._client.get_paginator(operation).paginate(Bucket=self._bucket, **options))
        while True:
            with translated(subject):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _call(self, operation: str, subject: str, **options: Any) -> Any:
        with translated(subject):
            return getattr(self._client, operation)(Bucket=self._bucket, **options)

    def _of(self, key: str) -> str:
        return f"object {key} in {self.label}"

    @cached_property
    def _client(self) -> Any:
        auth, details = self._details["auth"], self._details
        style = details.get("addressing_style") or ("path" if self._url else "virtual")
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": style},
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_ANSWER_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _TRIES},
            request_checksum_calculation="when_required",
            ignore_configured_endpoint_urls=True,
        )
        with translated(self.label):
            client = Session(session_vars=_OF_NOBODY).create_client(
                "s3",
                region_name=details.get("region_name") or FIRST_REGION,
                endpoint_url=self._url,
                verify=self._certificates(),
                aws_access_key_id=auth["access_key_id"],
                aws_secret_access_key=auth["secret_access_key"],
                aws_session_token=auth.get("session_token"),
                config=config,
            )
        self._closing.callback(client.close)
        return client

    def _certificates(self) -> str | bool:
        if not self._details.get("ca"):
            return True
        place = self._closing.enter_context(tempfile.TemporaryDirectory(prefix="isthmus-s3-"))
        file = Path(place) / "ca.pem"
        file.write_text(str(self._details["ca"]), encoding="ascii")
        return str(file)


class Portion:
    """A part of an open file, of `length` bytes, as botocore reads a body: more than once if it signs or sends again.

    What `watch` raises stays in `stopped`.
    """

    def __init__(self, file: IO[bytes], offset: int, length: int, watch: Watch) -> None:
        self._file, self._offset, self._length, self._watch = file, offset, length, watch
        self._place = self._told = 0
        self.stopped: Exception | None = None

    def md5(self) -> str:
        """Return the content's MD5 in base64, as the header Content-MD5 has it (RFC 1864)."""
        digest = hashlib.md5(usedforsecurity=False)
        self._file.seek(self._offset)
        left = self._length
        while left > 0 and (piece := self._file.read(min(PIECE, left))):
            self._watch(0)
            digest.update(piece)
            left -= len(piece)
        return base64.b64encode(digest.digest()).decode("ascii")

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        left = self._length - self._place
        self._file.seek(self._offset + self._place)
        piece = self._file.read(left if size is None or size < 0 else min(size, left))
        self._place += len(piece)
        self._tell()
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as files do."""
        self._place = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence] + offset
        return self._place

    def tell(self) -> int:
        """Return where it is."""
        return self._place

    def _tell(self) -> None:
        more = max(0, self._place - self._told)
        self._told += more
        try:
            self._watch(more)
        except Exception as error:
            self.stopped = error
            raise


def _content_md5(answer: Mapping[str, Any]) -> str:
    """Return the MD5 of an object's content; empty if its ETag is none: it came in parts, or a key encrypts it."""
    etag = str(answer.get("ETag", "")).strip('"')
    is_of_content = answer.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in answer
    return etag if is_of_content and _MD5.match(etag) else ""


_OF_NOBODY = {
    name: (None, None, os.devnull if name in ("config_file", "credentials_file") else default, conversion)
    for name, (_, _, default, conversion) in Session.SESSION_VARIABLES.items()
}
"""botocore's settings without the places where it would look for them."""
