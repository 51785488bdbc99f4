"""What the disk engine is asked to do and what it answers."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from ssl import SSLSocket

from isthmus.migration.disks.image_file import ImageFile
from isthmus.migration.disks.staged_file import StagedFile
from isthmus.migration.disks.trust import Identity


class Reads(StrEnum):
    """What decides which parts of the source are read.

    ALLOCATION: `base:allocation` says which parts hold data. DIRTY: the meta context `dirty_context` says which
    changed (flag bit 0). COMPARE: allocated parts are read, but only chunks whose hash differs from the hash map are
    written; what has become a hole is zeroed. Without a usable hash map the destination itself is read and hashed.
    """

    ALLOCATION = "allocation"
    DIRTY = "dirty"
    COMPARE = "compare"


@dataclass(frozen=True)
class Side:
    """One end of a copy: an NBD URI, and for nbds the directory with ca-cert.pem, client-cert.pem, client-key.pem.

    `image`: the file behind it, where this machine has that; of a source only if nobody writes to it. A source is then
    read from it, and what was written is compared with it, which spares the way through the server; where a file does
    not tell, or differs from what was written, the server is asked.
    """

    uri: str
    tls_certificates: Path | None = None
    image: ImageFile | None = None


@dataclass(frozen=True)
class Channel:
    """Where a worker near the destination receives the disk (`disks.receiving`), instead of NBD over the link.

    `name` says there which disk of which copy it is (`door.name_of`). `identity` is this end's, `peer` is the other's
    certificate (PEM); both trust nobody else. `compress`: chunks travel as zstd where that makes them smaller.
    """

    host: str
    port: int
    name: str
    identity: Identity
    peer: str
    compress: bool = True


@dataclass(frozen=True)
class Accepted:
    """A data channel whose receiver has connected to us, as `connection`; `compress` as with a Channel."""

    connection: SSLSocket
    compress: bool = True


@dataclass(frozen=True)
class CopyJob:
    """Copy one disk.

    `state_file` keeps, per chunk, the hash of what the destination holds and whether this pass has done it: it is the
    journal of a pass and the hash map for the next. A journal made for another `point` does not count as done, its
    hashes still count as known. `destination_is_zero`: the destination reads as zeros all over unless the state file
    says that an earlier attempt has written.
    `size_bytes` is the source's size; the destination is at least as large.
    With a `channel` the copy goes through it, and `destination` is not looked at: the far worker knows its own.
    With `staged` what lies there is copied, and `source` is not looked at. `leg` names the leg in progress, if there is
    more than one.
    """

    disk_id: str
    source: Side
    destination: Side
    size_bytes: int
    reads: Reads
    state_file: Path
    point: str
    dirty_context: str | None = None
    destination_is_zero: bool = False
    verify: bool = True
    channel: Channel | Accepted | None = None
    staged: StagedFile | None = None
    leg: str = ""


@dataclass(frozen=True)
class CopyReport:
    """What one pass over one disk did, all in bytes but `seconds`.

    `bytes_read` from the source, `bytes_sent` to the destination as data, `bytes_zeroed` without sending,
    `bytes_skipped` because equal or done before a restart (`bytes_resumed`), `bytes_verified` read back and compared.
    """

    disk_id: str
    bytes_read: int
    bytes_sent: int
    bytes_zeroed: int
    bytes_skipped: int
    bytes_resumed: int
    bytes_verified: int
    seconds: float
