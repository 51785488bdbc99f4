"""Connection details of the image-store provider: each kind wants its own keys; no value is told of what is amiss."""

from typing import Any

import pytest

from isthmus.control.errors import InvalidInput
from isthmus.migration.planning.work import EndpointRef
from isthmus.migration.providers.image_store.provider import ImageStoreProvider
from isthmus.migration.workflows.site import check_connection

KEYS = {"access_key_id": "key", "secret_access_key": "very-secret"}
CLOUD = {"auth_url": "https://keystone.example.org/v3", "username": "u", "password": "very-secret", "project_name": "p"}
S3 = {"kind": "s3", "auth": KEYS, "bucket": "machines", "endpoint_url": "https://s3.example.org:9000/store"}
SWIFT = {"kind": "swift", "auth": CLOUD, "container": "machines"}


def check(details: dict[str, Any]) -> None:
    endpoint = EndpointRef("e", "image-store", {"secret_ref": "ref"}, ())
    check_connection(endpoint, ImageStoreProvider, details)


@pytest.mark.parametrize(
    "details",
    [
        S3,
        {**S3, "auth": {**KEYS, "session_token": "t"}, "addressing_style": "virtual", "region_name": "r", "ca": "PEM"},
        {key: value for key, value in S3.items() if key != "endpoint_url"},
        SWIFT,
        {"kind": "glance", "auth": CLOUD},
    ],
)
def test_what_fits_is_taken(details: dict[str, Any]) -> None:
    check(details)


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ({**S3, "auth": CLOUD}, "auth: 'access_key_id' is a required property"),
        ({**S3, "auth": {"access_key_id": "key"}}, "'secret_access_key' is a required property"),
        ({**SWIFT, "auth": KEYS}, "auth: 'auth_url' is a required property"),
        ({**S3, "bucket": "a/b"}, "bucket: must fit pattern"),
        ({**S3, "bucket": "../other"}, "bucket: must fit pattern"),
        ({key: value for key, value in S3.items() if key != "bucket"}, "'bucket' is a required property"),
        ({key: value for key, value in SWIFT.items() if key != "container"}, "'container' is a required property"),
        ({**S3, "endpoint_url": "https://user:very-secret@s3.example.org"}, "endpoint_url: must fit pattern"),
        ({**S3, "endpoint_url": "file:///etc/passwd"}, "endpoint_url: must fit pattern"),
        ({**S3, "addressing_style": "auto"}, "addressing_style: must fit enum"),
    ],
)
def test_what_does_not_fit_is_told(details: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(details)
    assert told in refused.value.message
    assert "very-secret" not in refused.value.message
