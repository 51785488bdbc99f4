"""The bandwidth of attachments: their limits, applied as they are plugged and given back where they were lost."""

from isthmus.networking.binding import bandwidth
from isthmus.networking.model import Attachment, TargetKind


def apply_limits(found: Attachment) -> None:
    """Limit a plugged attachment as its wish says. Limited already: limited anew. Raises the binding's errors."""
    limits, place = found.wish.bandwidth, _place(found)
    if limits is not None and place is not None:
        bandwidth.apply(limits, *place)


def missing_limits(found: Attachment) -> tuple[str, ...]:
    """Return which limits a plugged attachment lacks, a sentence each. Raises the binding's errors."""
    limits, place = found.wish.bandwidth, _place(found)
    return () if limits is None or place is None else bandwidth.missing(limits, *place)


def _place(found: Attachment) -> tuple[str, str, str] | None:
    """Return (host's end, namespace's path, interface there), None where the agent has no near end in sight."""
    target = found.target
    if target is None or found.far_interface is None or target.kind is not TargetKind.NETNS or target.netns is None:
        return None
    return found.far_interface, target.netns, target.interface
