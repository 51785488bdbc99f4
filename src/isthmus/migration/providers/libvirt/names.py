"""Names of what we make on a hypervisor: from the caller's ids alone, so that a later process finds it again."""

import hashlib
import re
import uuid

METADATA_URI = "https://isthmus.dev/libvirt/1"
"""XML namespace of our marks in domains' metadata."""
METADATA_KEY = "isthmus"
_MACHINES = uuid.UUID("6c1f2f0e-6f0f-5f3e-9f43-1f5a2f6f7a10")


def safe(text: str) -> str:
    """Return `text` with all that has no place in a file name replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)


def short(*parts: str) -> str:
    """Return 16 hex digits that stand for `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def checkpoints_of(transfer_id: str) -> str:
    """Return the prefix of all checkpoints of a transfer."""
    return f"isthmus-{safe(transfer_id)}-"


def checkpoint(transfer_id: str, point: str) -> str:
    """Return the name of the checkpoint (and of its bitmap) for a point."""
    return checkpoints_of(transfer_id) + safe(point)


def volume(group_id: str, instance: str, disk_id: str, disk_format: str) -> str:
    """Return the name of the volume of a transfer or deployment for one disk."""
    return f"isthmus-{safe(group_id)}-{short(instance)[:8]}-{safe(disk_id)}.{disk_format}"


def writer(owner: str) -> str:
    """Return the name of the helper domain that serves disks for `owner`."""
    return f"isthmus-writer-{short(owner)}"


def machine_uuid(deployment_id: str, machine_name: str) -> str:
    """Return the UUID of the machine that a deployment makes from a source machine."""
    return str(uuid.uuid5(_MACHINES, f"{deployment_id}/{machine_name}"))


def drive_letters(index: int) -> str:
    """Return a, b, … z, aa, ab, … for 0, 1, …, as the kernel names its disks."""
    rest, letter = divmod(index, 26)
    return (drive_letters(rest - 1) if rest else "") + chr(ord("a") + letter)
