import base64
import json

import pytest

from isthmus.cli.client import encode, fault
from isthmus.control import errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.InvalidInput),
        (401, errors.NotAuthenticated),
        (403, errors.NotAllowed),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (413, errors.InputTooLarge),
        (501, errors.NotSupported),
        (503, errors.Unavailable),
        (500, errors.IsthmusError),
    ],
)
def test_a_fault_becomes_the_error_of_its_status(status: int, kind: type[errors.IsthmusError]) -> None:
    found = fault("GET", "/x", status, json.dumps({"name": {"code": status, "message": "no such thing"}}))
    assert type(found) is kind
    assert found.message == "no such thing"


@pytest.mark.parametrize("text", ["", "<html>", "[]", "{}", '{"a": 1}', "null"])
def test_a_body_that_is_no_fault_still_names_the_call(text: str) -> None:
    assert "GET /endpoints with status 502" in fault("GET", "/endpoints?marker=1", 502, text).message


def test_an_environment_travels_as_url_safe_base64() -> None:
    assert json.loads(base64.urlsafe_b64decode(encode({"pool": "a?b>c"}))) == {"pool": "a?b>c"}
