"""The protocol's envelope: methods by name, JSON in and out, refusals under the protocol's keys."""

import json
from typing import Any

import falcon.testing
import pytest

from isthmus.control.errors import Conflict, NotFound
from isthmus.networking.libnetwork import messages
from isthmus.networking.libnetwork.application import MEDIA_TYPE, Method, serve


def refuse(error: Exception) -> Any:
    raise error


@pytest.fixture
def client() -> falcon.testing.TestClient:
    return falcon.testing.TestClient(
        serve(
            {
                "Plugin.Activate": Method(messages.Empty, lambda _: {"Implements": ["NetworkDriver"]}),
                "NetworkDriver.Leave": Method(messages.OneEndpoint, lambda _: None),
                "NetworkDriver.Join": Method(messages.Empty, lambda _: refuse(NotFound("no such endpoint"))),
                "IpamDriver.RequestAddress": Method(messages.Empty, lambda _: refuse(Conflict("all are taken"))),
                "IpamDriver.ReleaseAddress": Method(messages.Empty, lambda _: refuse(ZeroDivisionError("secret"))),
            }
        )
    )


def test_an_empty_body_is_an_empty_request(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_post("/Plugin.Activate")

    assert (answer.status_code, answer.json) == (200, {"Implements": ["NetworkDriver"]})
    assert answer.headers["content-type"] == MEDIA_TYPE


def test_a_method_without_an_answer_answers_an_empty_object(client: falcon.testing.TestClient) -> None:
    body = json.dumps({"NetworkID": "n", "EndpointID": "e"})

    answer = client.simulate_post("/NetworkDriver.Leave", body=body, headers={"Content-Type": MEDIA_TYPE})

    assert (answer.status_code, answer.json) == (200, {})


def test_a_refusal_has_both_keys(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_post("/IpamDriver.RequestAddress", body="null")

    assert answer.status_code == 409
    assert answer.json == {"Err": "all are taken", "Error": "all are taken"}


def test_what_is_not_found_is_no_404_which_means_no_method(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_post("/NetworkDriver.Join", body="{}")

    assert (answer.status_code, answer.json["Err"]) == (400, "no such endpoint")


def test_an_unknown_method_is_a_404(client: falcon.testing.TestClient) -> None:
    assert client.simulate_post("/NetworkDriver.Dance").status_code == 404


def test_another_verb_is_refused_in_the_protocols_form(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_get("/NetworkDriver.Leave")

    assert answer.status_code == 405
    assert "GET /NetworkDriver.Leave" in answer.json["Err"]


@pytest.mark.parametrize(
    "body", ["{", "[]", '"x"', "\xff", '{"NetworkID": "n\\u0000", "EndpointID": "e"}', "[" * 99999]
)
def test_malformed_bodies_are_refused(client: falcon.testing.TestClient, body: str) -> None:
    answer = client.simulate_post("/NetworkDriver.Leave", body=body.encode("latin-1"))

    assert answer.status_code == 400
    assert answer.json["Err"]


def test_a_huge_body_is_refused(client: falcon.testing.TestClient) -> None:
    assert client.simulate_post("/NetworkDriver.Leave", body=" " * (1 << 20) + "{}").status_code == 413


def test_what_nobody_foresaw_says_so_without_the_errors_words(client: falcon.testing.TestClient) -> None:
    answer = client.simulate_post("/IpamDriver.ReleaseAddress", body="{}")

    assert answer.status_code == 500
    assert "secret" not in answer.text
