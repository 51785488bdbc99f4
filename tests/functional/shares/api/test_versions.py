"""Microversions, the documents that tell of them, and errors' form."""

import pytest
from tests.functional.shares.api.parts import ADMIN, MEMBER, NEWEST, VERSION, Shares, expect, refused


def test_the_root_tells_which_versions_there_are(shares: Shares) -> None:
    answer = shares.client.simulate_get("/")
    (entry,) = expect(answer, 300)["versions"]
    assert (entry["id"], entry["version"], entry["min_version"]) == ("v2.0", "2.99", "2.0")


def test_v2_tells_it_with_200(shares: Shares) -> None:
    assert expect(shares.call("GET", "/"), 200)["versions"][0]["version"] == NEWEST


@pytest.mark.parametrize("version", ["latest", "2", "v2.1", "2.01"])
def test_a_malformed_version_is_bad(shares: Shares, version: str) -> None:
    refused(shares.call("GET", "/limits", version=version), 400, version)


@pytest.mark.parametrize("version", ["1.0", "2.100", "3.0"])
def test_a_version_out_of_range_is_not_acceptable(shares: Shares, version: str) -> None:
    answer = shares.call("GET", "/limits", version=version)
    refused(answer, 406, "2.0", NEWEST)


def test_each_answer_names_its_version(shares: Shares) -> None:
    answer = shares.call("GET", "/nothing", version="2.42")
    assert answer.headers[VERSION] == "2.42"
    assert answer.headers["Vary"] == VERSION


def test_what_is_not_there_is_404(shares: Shares) -> None:
    refused(shares.call("GET", "/nothing"), 404)


def test_without_a_token_nothing_is_answered(shares: Shares) -> None:
    answer = shares.client.simulate_get("/v2/limits", headers={VERSION: NEWEST})
    assert expect(answer, 401)["unauthorized"]["code"] == 401


def test_another_projects_path_is_refused(shares: Shares) -> None:
    refused(shares.call("GET", f"/{ADMIN.project}/limits", by=MEMBER), 400, "Malformed request url")
