"""Whatever is sent, the answer is a fault in Coriolis' form with a request id."""

import json
from typing import Any

import pytest
from tests.functional.api.parts import Api, assert_fault


@pytest.mark.parametrize("body", ["{", "[1", '{"endpoint": NaN}', "\x00", "[]", "7", '"text"', "[" * 100000])
def test_what_is_not_a_json_object_is_refused(api: Api, body: str) -> None:
    answer = api.raw("POST", "/v1/p1/endpoints", body=body, headers={"Content-Type": "application/json"})
    assert_fault(answer, 400, "badRequest", "Malformed request body")


def test_bytes_that_are_not_utf8_are_refused(api: Api) -> None:
    answer = api.raw("POST", "/v1/p1/endpoints", body=b'{"a": "\xff"}', headers={"Content-Type": "application/json"})
    assert_fault(answer, 400, "badRequest", "UTF-8")


def test_another_content_type_is_refused(api: Api) -> None:
    answer = api.raw("POST", "/v1/p1/endpoints", body="<a/>", headers={"Content-Type": "application/xml"})
    assert_fault(answer, 415, "badMediaType", "application/json")


def test_a_huge_body_is_refused(api: Api) -> None:
    body = json.dumps({"endpoint": {"name": "x" * 2_000_000}})
    answer = api.raw("POST", "/v1/p1/endpoints", body=body, headers={"Content-Type": "application/json"})
    assert_fault(answer, 413, "overLimit", "1048576")


def test_an_unknown_route_is_not_found(api: Api) -> None:
    assert_fault(api.raw("GET", "/v2/nothing"), 404, "itemNotFound", "/v2/nothing")
    assert_fault(api.call("GET", "/endpoints/a/b/c/d"), 404, "itemNotFound")


def test_an_unknown_method_is_a_bad_method(api: Api) -> None:
    answer = api.call("PATCH", "/endpoints")
    assert_fault(answer, 405, "badMethod", "PATCH")
    assert "GET" in answer.headers["allow"]


def test_the_header_project_and_the_url_project_must_agree(api: Api) -> None:
    answer = api.call("GET", "/endpoints", headers={"X-Project-Id": "other"})
    assert_fault(answer, 400, "badRequest", "Malformed request url")


def test_a_missing_envelope_is_named(api: Api) -> None:
    assert_fault(api.call("POST", "/endpoints", {"name": "a"}), 400, "badRequest", "endpoint")
    assert_fault(api.call("POST", "/transfers", {}), 400, "badRequest", "transfer")
    assert_fault(api.call("POST", "/deployments", {}), 400, "badRequest", "deployment")


@pytest.mark.parametrize("value", [None, 7, "text", [], True])
def test_an_envelope_of_a_wrong_type_is_refused(api: Api, value: object) -> None:
    assert_fault(api.call("POST", "/endpoints", {"endpoint": value}), 400, "badRequest", "endpoint")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"name": None}, "name"),
        ({"name": 7}, "name"),
        ({"name": ""}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"name": "a\x00b"}, "NUL"),
        ({"name": "\ud800"}, "surrogate"),
        ({"type": ["libvirt"]}, "type"),
        ({"connection_info": "text"}, "connection_info"),
        ({"connection_info": None}, "connection_info"),
        ({"mapped_regions": "default"}, "mapped_regions"),
        ({"mapped_regions": ["../../etc"]}, "mapped_regions"),
        ({"mapped_regions": [7]}, "mapped_regions"),
        ({"description": {}}, "description"),
    ],
)
def test_a_wrong_value_in_an_endpoint_is_named(api: Api, change: dict[str, Any], word: str) -> None:
    body = {"name": "a", "type": "libvirt", "connection_info": {"uri": "qemu:///a"}, **change}
    assert_fault(api.call("POST", "/endpoints", {"endpoint": body}), 400, "badRequest", word)
    assert api.vault.secrets == {}


@pytest.mark.parametrize("action", [{}, {"fly": None}, {"validate-connection": None, "other": None}])
def test_an_unknown_action_is_named(api: Api, action: dict[str, Any]) -> None:
    made = api.endpoint()
    answer = api.call("POST", f"/endpoints/{made['id']}/actions", action)
    assert_fault(answer, 400, "badRequest", "no such action", "validate-connection")


def test_ids_that_are_no_ids_are_not_found(api: Api) -> None:
    for path in ("/endpoints/%00", "/endpoints/..%2f..%2fetc", "/transfers/x", "/deployments/%F0%9F%98%80"):
        assert_fault(api.call("GET", path), 404, "itemNotFound")


def test_every_answer_has_a_request_id(api: Api) -> None:
    for path in ("/", "/v1", "/v1/p1/endpoints", "/healthcheck"):
        answer = api.raw("GET", path)
        assert answer.status_code == 200
        assert answer.headers["x-compute-request-id"].startswith("req-")


def test_versions_are_shown_to_everybody(api: Api) -> None:
    assert api.raw("GET", "/").json["versions"][0]["id"] == "v1"
    assert api.raw("GET", "/v1/").json["version"]["status"] == "CURRENT"


def test_an_error_that_nobody_foresaw_tells_nothing_but_its_request_id(api: Api) -> None:
    made = api.endpoint()
    answer = api.call("GET", f"/endpoints/{made['id']}/networks")
    assert_fault(answer, 500, "computeFault", answer.headers["x-compute-request-id"])
