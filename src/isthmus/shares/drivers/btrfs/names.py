"""Names of subvolumes and of mount points, and what may stand in them."""

import re

from isthmus.control.errors import InvalidInput
from isthmus.shares.drivers.contract import NotAdoptable
from isthmus.shares.protocols.samba import RESERVED_NAMES

# A single component, no dot at its beginning: it cannot leave its directory, and is no option of a program.
_MOUNT_POINT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_SUBVOLUME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@:+-]{0,199}")
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_OURS = re.compile(r"(share|snapshot|making)-.*", re.IGNORECASE)


def share_name(instance_id: str) -> str:
    """Return the name of a share's subvolume."""
    return f"share-{_checked(instance_id)}"


def making_name(instance_id: str) -> str:
    """Return the name of a share's subvolume while it is not whole."""
    return f"making-{_checked(instance_id)}"


def snapshot_name(instance_id: str) -> str:
    """Return the name of a snapshot's subvolume."""
    return f"snapshot-{_checked(instance_id)}"


def mount_point(name: str) -> str:
    """Return a mount point's name as it was asked for. Raises InvalidInput if it cannot be one."""
    if not _MOUNT_POINT.fullmatch(name):
        raise InvalidInput(
            f"mount point name {name!r} must be 1 to 80 letters, digits, underscores and hyphens, no hyphen first"
        )
    if _OURS.fullmatch(name) or name.lower() in RESERVED_NAMES:
        raise InvalidInput(f"mount point name {name!r} is kept for other uses: choose another")
    return name


def adopted(location: str) -> str:
    """Return the subvolume's name at the end of an export path or of a snapshot's location. Raises NotAdoptable."""
    name = re.split(r"[/\\]", location)[-1]
    if not _SUBVOLUME.fullmatch(name):
        raise NotAdoptable(f"{location!r} does not end in the name of a subvolume of the pool")
    return name


def _checked(instance_id: str) -> str:
    if not _ID.fullmatch(instance_id):
        raise InvalidInput(f"{instance_id!r} is not an instance's id")
    return instance_id
