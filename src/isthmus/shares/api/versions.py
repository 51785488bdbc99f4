"""Microversions: which one a call speaks, and the document that tells which there are.

Source: Manila's API reference, "Versioning"; `X-OpenStack-Manila-API-Version`. What differs between versions is
data: a route, an action or a field says from when until when it is there.
"""

import re
from typing import Any, NamedTuple

from isthmus.control.errors import InvalidInput
from isthmus.shares.api.faults import VersionNotServed

HEADER = "X-OpenStack-Manila-API-Version"
EXPERIMENTAL_HEADER = "X-OpenStack-Manila-API-Experimental"


class Version(NamedTuple):
    """A microversion, as 2.42; compares as numbers do."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def since(minor: int) -> Version:
    """Return 2.`minor`: short for the many places that name one."""
    return Version(2, minor)


OLDEST = Version(2, 0)
NEWEST = Version(2, 99)

_SHAPE = re.compile(r"^([1-9]\d*)\.([1-9]\d*|0)$")


def asked_version(header: str | None) -> Version:
    """Return the version that a call asks for: the oldest without a header.

    Raises `InvalidInput` for what is no version (the word `latest` is none), `VersionNotServed` for one out of range.
    """
    if header is None:
        return OLDEST
    match = _SHAPE.match(header)
    if match is None:
        raise InvalidInput(f"API Version String {header} is of invalid format. Must be of format MajorNum.MinorNum.")
    version = Version(int(match[1]), int(match[2]))
    if not OLDEST <= version <= NEWEST:
        raise VersionNotServed(
            f"Version {version} is not supported by the API. Minimum is {OLDEST}, and maximum is {NEWEST}."
        )
    return version


def version_document(base_url: str) -> dict[str, Any]:
    """Return what `GET /` and `GET /v2/` show: one entry."""
    return {
        "versions": [
            {
                "id": "v2.0",
                "status": "CURRENT",
                "version": str(NEWEST),
                "min_version": str(OLDEST),
                "updated": "2015-08-27T11:33:21Z",
                "links": [
                    {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
                    {"rel": "self", "href": f"{base_url}/v2/"},
                ],
                "media-types": [{"base": "application/json", "type": "application/vnd.openstack.share+json;version=1"}],
            }
        ]
    }
