"""Moments in bodies."""

from datetime import UTC, datetime

from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput


def future_moment(given: str | None, name: str) -> datetime | None:
    """Return a time in ISO 8601 as UTC without a zone; None for none. `InvalidInput` for nonsense and for the past."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given)
        moment = moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise InvalidInput(f"{name} must be a time in ISO 8601, like 2030-01-31T23:00:00Z") from None
    if moment <= utc_now():
        raise InvalidInput(f"{name} {moment.isoformat()} (UTC) is in the past; set a later one, or none")
    return moment
