"""Names and schemas of the OpenStack provider."""

from typing import Any

import jsonschema
import pytest

from isthmus.migration.providers.openstack import names, schemas
from isthmus.migration.providers.openstack.volumes import gib

URL = {"auth_url": "https://keystone.example.org/v3"}


def test_names_differ_where_the_ids_do_and_fit_into_cinders_255_characters() -> None:
    made = {
        names.replica("t", "one", "vda"),
        names.replica("t", "two", "vda"),
        names.replica("t", "one", "vdb"),
        names.reading("t", "one", "p1", "vda"),
        names.reading("t", "one", "p2", "vda"),
        names.kept("d", "v"),
        names.ports("d", "one"),
    }
    assert len(made) == 7
    assert max(map(len, made)) < 255
    assert names.replica("t", "x" * 300, "vda") == names.replica("t", "x" * 300, "vda")
    assert names.attacher("a") != names.attacher("b")
    assert names.reading("t", "one", "p1", "vda").startswith(names.readings("t", "one"))


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (1 << 30, 1), ((1 << 30) + 1, 2), (5 << 30, 5)])
def test_sizes_are_whole_gib(size: int, expected: int) -> None:
    assert gib(size) == expected


@pytest.mark.parametrize(
    "connection",
    [
        {},
        {"auth": URL},
        {"auth": {"password": "p"}},
        {"auth": {**URL, "auth_url": "file:///etc/passwd", "password": "p"}},
        {"auth": {**URL, "password": "p"}, "surprise": 1},
    ],
)
def test_connection_details_that_say_too_little_or_too_much_are_refused(connection: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(connection, schemas.CONNECTION)
