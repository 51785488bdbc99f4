"""Names and marks of what we make in a cloud: from the caller's ids alone, so that a later process finds it again."""

import hashlib
import re
import uuid

DEPLOYMENT = "isthmus_deployment"
"""Metadata key of a server, and of the volumes that are a machine's: the deployment that made it."""
MACHINE = "isthmus_machine"
"""Metadata key of a deployment's boot volume, and of its server: the source machine's name."""
WRITTEN = "isthmus_written"
"""Metadata key of a volume that has been open for writing: it may hold something."""
PAUSED = "isthmus_paused"
"""Metadata key of a server that is paused while its volumes' snapshots are made."""
_OWNERS = uuid.UUID("0b64a3f1-52f6-5c0e-8a07-0b7b8c4d21e9")


def short(*parts: str) -> str:
    """Return 16 hex digits that stand for `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def safe(text: str) -> str:
    """Return `text` with all that has no place in a name replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text)


def replica(group_id: str, instance: str, disk_id: str) -> str:
    """Return the name of a transfer's or deployment's volume for one disk."""
    return f"{replicas(group_id, instance)}{safe(disk_id)}"


def replicas(group_id: str, instance: str) -> str:
    """Return what the names of a transfer's or deployment's volumes of one machine begin with."""
    return f"isthmus-{safe(group_id)}-{short(instance)[:8]}-"


def readings(transfer_id: str, instance: str) -> str:
    """Return what the names of all snapshots of a transfer, and of the volumes made of them, begin with."""
    return f"isthmus-reading-{safe(transfer_id)}-{short(instance)[:8]}-"


def reading(transfer_id: str, instance: str, point: str, disk_id: str) -> str:
    """Return the name of the snapshot of a disk at a point, and of the volume made of it."""
    return f"{readings(transfer_id, instance)}{short(point)[:8]}-{safe(disk_id)}"


def kept(deployment_id: str, volume_id: str) -> str:
    """Return the name of the volume that keeps another's content during a deployment."""
    return f"isthmus-kept-{safe(deployment_id)}-{short(volume_id)[:8]}"


def ports(deployment_id: str, machine_name: str) -> str:
    """Return what the names of a deployed machine's ports begin with."""
    return f"isthmus-{safe(deployment_id)}-{short(machine_name)[:8]}-nic"


def attacher(owner: str) -> str:
    """Return the UUID under which `owner` attaches volumes: Cinder keeps it as the attachment's instance."""
    return str(uuid.uuid5(_OWNERS, owner))
