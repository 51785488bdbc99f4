"""What views have in common: fields that come and go with microversions, links, a list's next page."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from isthmus.shares.api.call import Call
from isthmus.shares.api.queries import Page
from isthmus.shares.api.versions import NEWEST, OLDEST, Version

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One field of a view, from a version to a version. `of` gives its value from a row (by default the same name)."""

    name: str
    of: Callable[[Row], Any] | str | None = None
    since: Version = OLDEST
    until: Version = NEWEST
    admin: bool = False


class View:
    """An object's fields as data; `at` gives the function for one version, made once and kept."""

    def __init__(self, fields: Iterable[Field]) -> None:
        self._fields = tuple(fields)
        self._made: dict[tuple[Version, bool], Callable[[Row], dict[str, Any]]] = {}

    def at(self, version: Version, *, admin: bool) -> Callable[[Row], dict[str, Any]]:
        """Return what makes a row's view for callers of this version; administrators see more."""
        made = self._made.get((version, admin))
        if made is None:
            made = self._made[version, admin] = self._make(version, admin=admin)
        return made

    def _make(self, version: Version, *, admin: bool) -> Callable[[Row], dict[str, Any]]:
        shown = [
            field for field in self._fields if field.since <= version <= field.until and (admin or not field.admin)
        ]
        plain = {field.name: field.of or field.name for field in shown if not callable(field.of)}
        made = [(field.name, field.of) for field in shown if callable(field.of)]
        keys = list(plain.values())
        # In C: a list of 1,000 shares has 30,000 of them. The first is asked for twice, so that even one is a tuple.
        values = itemgetter(*keys, keys[0]) if keys else None

        def view(row: Row) -> dict[str, Any]:
            found = dict(zip(plain, values(row), strict=False)) if values else {}
            for name, make in made:
                found[name] = make(row)
            return found

        return view


def links(call: Call, collection: str, identity: str) -> list[dict[str, str]]:
    """Return the `links` of an object: with the project in the path, and the bookmark without version."""
    tail = f"{collection}/{identity}"
    return [
        {"rel": "self", "href": f"{call.base_url}/v2/{tail}"},
        {"rel": "bookmark", "href": f"{call.base_url}/{tail}"},
    ]


def next_link(call: Call, name: str, page: Page, found: int) -> dict[str, Any]:
    """Return `{"<name>_links": [next]}` if a full page was asked for by `limit` and given, else nothing."""
    if not page.asked_limit or found < page.limit:
        return {}
    query = {**call.query, "offset": str(page.offset + found)}
    href = f"{call.base_url}/v2{call.path}?{urlencode(query)}"
    return {f"{name}_links": [{"rel": "next", "href": href}]}
