"""What Manila's drivers answer, in the words of the contract (forms as `manila.share.manager` takes them)."""

from collections.abc import Mapping, Sequence
from typing import Any

from oslo_utils import strutils

from isthmus.shares.drivers.contract import DriverFailed
from isthmus.shares.drivers.facts import Adopted, Creation, ExportLocation, Progress, SnapshotMade

AVAILABLE = "available"
CREATING_FROM_SNAPSHOT = "creating_from_snapshot"
REVERTING = "reverting_to_snapshot"


def exports(answer: Any) -> tuple[ExportLocation, ...]:
    """Return export locations given as one path, one dict, or a sequence of either; None is none."""
    if not answer:
        return ()
    several = answer if isinstance(answer, (list, tuple, set)) else [answer]
    return tuple(_export(each) for each in several)


def _export(each: Any) -> ExportLocation:
    if isinstance(each, str):
        return ExportLocation(each)
    metadata = dict(each.get("metadata") or {})
    preferred = metadata.pop("preferred", each.get("preferred", False))
    return ExportLocation(
        path=each["path"],
        admin_only=bool(each.get("is_admin_only")),
        preferred=strutils.bool_from_string(preferred),
        metadata={str(key): str(value) for key, value in metadata.items()},
    )


def creation(answer: Any) -> Creation:
    """Return how far a creation is: bare export locations mean that it is done, a dict says its `status`.

    Raises `DriverFailed` if the driver says that it failed, or says nothing that Manila knows.
    """
    if not isinstance(answer, Mapping) or "path" in answer:
        return Creation(exports(answer))
    status = answer.get("status")
    if status == AVAILABLE:
        return Creation(exports(answer.get("export_locations")))
    if status == CREATING_FROM_SNAPSHOT:
        return Creation((), Progress.UNDER_WAY, _percent(answer.get("progress")))
    raise DriverFailed(f"the driver says that the share's status is {status}")


def _percent(said: Any) -> int:
    text = str(said or "0").strip().rstrip("%")
    return min(99, int(float(text))) if text.replace(".", "", 1).isdigit() else 0


def snapshot_made(answer: Any) -> SnapshotMade:
    """Return a snapshot from the dict of updates, if any, that a driver gives."""
    updates = answer or {}
    return SnapshotMade(updates.get("provider_location"), exports(updates.get("export_locations")))


def adopted(answer: Mapping[str, Any], provider_location: str | None = None) -> Adopted:
    """Return what was adopted. Raises `DriverFailed` if its size is not told, which Manila's drivers must tell."""
    if not answer or answer.get("size") is None:
        raise DriverFailed("the driver does not tell the size of what it took under management")
    return Adopted(
        size_gib=int(answer["size"]),
        exports=exports(answer.get("export_locations")),
        provider_location=answer.get("provider_location", provider_location),
    )


def used_gib(answer: Sequence[Mapping[str, Any]] | None, instance_id: str) -> float | None:
    """Return how much a share holds from the answer of `update_share_usage_size`, None if it is not told."""
    return next((float(each["used_size"]) for each in answer or () if each["id"] == instance_id), None)
