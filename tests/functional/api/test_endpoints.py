"""Endpoints: secrets out of the details at once, never back; another project's do not exist."""

from typing import Any

import pytest
from sqlalchemy import text
from tests.functional.api.parts import BARBICAN, Api, assert_fault

from isthmus.control.errors import NotAuthenticated, Unavailable
from isthmus.migration.tables import TransferRow

PASSWORD = "correct horse battery staple"


def test_inline_details_become_a_secret(api: Api) -> None:
    made = api.endpoint(connection_info={"uri": "qemu+tls://h/system", "password": PASSWORD})
    ref = made["connection_info"]["secret_ref"]
    assert made["connection_info"] == {"secret_ref": ref}
    assert api.vault.secrets[ref]["password"] == PASSWORD
    assert api.call("GET", f"/endpoints/{made['id']}").json["endpoint"] == made
    with api.database.transaction() as session:
        assert PASSWORD not in str(session.execute(text("SELECT * FROM endpoints")).all())


def test_an_endpoint_has_coriolis_keys(api: Api) -> None:
    made = api.endpoint(description="the old one", mapped_regions=["north"])
    assert set(made) == {
        "id", "project_id", "user_id", "name", "type", "description", "connection_info", "mapped_regions",
        "created_at", "updated_at", "deleted_at", "deleted",
    }  # fmt: skip
    assert made["deleted"] == "0"
    assert made["mapped_regions"] == ["north"]
    assert len(made["created_at"]) == len("2026-11-23T04:39:20.000000")


def test_an_unknown_provider_is_refused_and_the_known_are_named(api: Api) -> None:
    body = {"name": "a", "type": "atlantis", "connection_info": {"uri": "x"}}
    assert_fault(api.call("POST", "/endpoints", {"endpoint": body}), 400, "badRequest", "'atlantis'", "libvirt")


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({}, ("connection_info", "uri")),
        ({"uri": 7}, ("connection_info.uri", "string")),
        ({"uri": f"ftp://{PASSWORD}"}, ("connection_info.uri", "pattern")),
        ({"uri": "qemu:///a", "pasword": PASSWORD}, ("connection_info", "unknown", "password")),
        ({"uri": "qemu:///a", "password": [PASSWORD]}, ("connection_info.password",)),
    ],
)
def test_details_that_do_not_fit_are_named_but_never_shown(
    api: Api, details: dict[str, Any], words: tuple[str, ...]
) -> None:
    answer = api.call("POST", "/endpoints", {"endpoint": {"name": "a", "type": "libvirt", "connection_info": details}})
    assert_fault(answer, 400, "badRequest", *words)
    assert PASSWORD not in answer.text
    assert api.vault.secrets == {}


def test_a_given_reference_is_kept_as_it_is_and_never_deleted(api: Api) -> None:
    ref = f"{BARBICAN}11111111-0000-4000-8000-000000000000"
    api.vault.secrets[ref] = {"uri": "qemu:///a"}
    made = api.endpoint(connection_info={"secret_ref": ref})
    assert made["connection_info"] == {"secret_ref": ref}
    assert api.call("DELETE", f"/endpoints/{made['id']}").status_code == 204
    assert ref in api.vault.secrets


@pytest.mark.parametrize(
    "details", [{"secret_ref": "http://evil.test/v1/secrets/1"}, {"secret_ref": 7}, {"secret_ref": "x", "uri": "y"}]
)
def test_a_reference_to_elsewhere_is_refused(api: Api, details: dict[str, Any]) -> None:
    answer = api.call("POST", "/endpoints", {"endpoint": {"name": "a", "type": "libvirt", "connection_info": details}})
    assert_fault(answer, 400, "badRequest", "secret_ref")


def test_a_secret_is_removed_again_if_its_row_cannot_be_written(api: Api) -> None:
    with api.database.transaction() as session:
        session.execute(text("DROP TABLE endpoints"))
    body = {"name": "a", "type": "libvirt", "connection_info": {"uri": "qemu:///a"}}
    assert_fault(api.call("POST", "/endpoints", {"endpoint": body}), 500, "computeFault")
    assert api.vault.secrets == {}


def test_put_changes_only_what_it_names(api: Api) -> None:
    made = api.endpoint(description="old")
    answer = api.call("PUT", f"/endpoints/{made['id']}", {"endpoint": {"name": "new", "type": "ignored"}})
    changed = answer.json["endpoint"]
    assert (changed["name"], changed["description"], changed["type"]) == ("new", "old", "libvirt")
    assert changed["connection_info"] == made["connection_info"]
    assert changed["updated_at"]


def test_new_details_make_a_new_secret_and_remove_the_old(api: Api) -> None:
    made = api.endpoint()
    body = {"endpoint": {"connection_info": {"uri": "qemu:///b"}}}
    changed = api.call("PUT", f"/endpoints/{made['id']}", body).json["endpoint"]
    assert changed["connection_info"] != made["connection_info"]
    assert list(api.vault.secrets.values()) == [{"uri": "qemu:///b"}]


def test_an_update_is_done_even_if_the_old_secret_stays(api: Api) -> None:
    made = api.endpoint()
    api.vault.broken = Unavailable("Barbican is silent")
    body = {"endpoint": {"connection_info": {"uri": "qemu:///b"}}}
    assert api.call("PUT", f"/endpoints/{made['id']}", body).status_code == 200


@pytest.mark.parametrize("change", [{"name": None}, {"name": 7}, {"connection_info": {"uri": 1}}, {"name": ""}])
def test_put_refuses_what_post_refuses(api: Api, change: dict[str, Any]) -> None:
    made = api.endpoint()
    assert_fault(api.call("PUT", f"/endpoints/{made['id']}", {"endpoint": change}), 400, "badRequest")
    assert len(api.vault.secrets) == 1


def test_delete_removes_the_row_and_its_secret(api: Api) -> None:
    made = api.endpoint()
    assert api.call("DELETE", f"/endpoints/{made['id']}").status_code == 204
    assert api.vault.secrets == {}
    assert_fault(api.call("GET", f"/endpoints/{made['id']}"), 404, "itemNotFound", made["id"])
    assert_fault(api.call("DELETE", f"/endpoints/{made['id']}"), 404, "itemNotFound")


def test_an_endpoint_stays_if_its_secret_cannot_be_deleted(api: Api) -> None:
    made = api.endpoint()
    api.vault.broken = Unavailable("Barbican is silent")
    assert_fault(api.call("DELETE", f"/endpoints/{made['id']}"), 503, "serviceUnavailable")
    assert api.call("GET", f"/endpoints/{made['id']}").status_code == 200


def test_an_endpoint_in_use_is_not_deleted(api: Api) -> None:
    transfer = api.transfer()
    for side in ("origin", "destination"):
        answer = api.call("DELETE", f"/endpoints/{transfer[f'{side}_endpoint_id']}")
        assert_fault(answer, 409, "conflictingRequest", transfer["id"])
    assert len(api.vault.secrets) == 2


def test_an_endpoint_stays_until_what_a_deleted_transfer_left_there_is_gone(api: Api) -> None:
    transfer = api.transfer()
    with api.database.transaction() as session:
        session.get_one(TransferRow, transfer["id"]).info = {"web": {"point": "p"}}
    assert api.call("DELETE", f"/transfers/{transfer['id']}").status_code == 204
    path = f"/endpoints/{transfer['origin_endpoint_id']}"
    assert_fault(api.call("DELETE", path), 409, "conflictingRequest", transfer["id"], "try again")
    with api.database.transaction() as session:
        session.get_one(TransferRow, transfer["id"]).info = {}
    assert api.call("DELETE", path).status_code == 204


def test_another_projects_endpoint_does_not_exist(api: Api) -> None:
    made = api.endpoint(project="p2")
    path = f"/endpoints/{made['id']}"
    assert_fault(api.call("GET", path), 404, "itemNotFound")
    assert_fault(api.call("PUT", path, {"endpoint": {"name": "mine"}}), 404, "itemNotFound")
    assert_fault(api.call("DELETE", path), 404, "itemNotFound")
    assert_fault(api.call("POST", f"{path}/actions", {"validate-connection": None}), 404, "itemNotFound")
    assert_fault(api.call("GET", f"{path}/instances"), 404, "itemNotFound")
    assert api.call("GET", "/endpoints").json == {"endpoints": []}
    assert api.call("GET", path, project="p2").json["endpoint"]["name"] == "cloud"


def test_validate_connection_answers_yes(api: Api) -> None:
    made = api.endpoint(mapped_regions=["north"])
    api.engine.answers["validate_connection"] = {}
    answer = api.call("POST", f"/endpoints/{made['id']}/actions", {"validate-connection": None})
    assert answer.json == {"validate-connection": {"valid": True, "message": None}}
    assert api.engine.asked[0]["endpoint"] == {
        "id": made["id"],
        "type": "libvirt",
        "connection_info": made["connection_info"],
        "mapped_regions": ["north"],
    }


@pytest.mark.parametrize("error", [NotAuthenticated("wrong password"), Unavailable("h does not answer")])
def test_validate_connection_answers_no_with_the_reason(api: Api, error: NotAuthenticated | Unavailable) -> None:
    made = api.endpoint()
    api.engine.answers["validate_connection"] = error
    answer = api.call("POST", f"/endpoints/{made['id']}/actions", {"validate-connection": None})
    assert answer.status_code == 200
    assert answer.json == {"validate-connection": {"valid": False, "message": error.message}}


def test_providers_and_their_schemas(api: Api) -> None:
    assert {4, 8, 16, 32} <= set(api.call("GET", "/providers").json["providers"]["libvirt"]["types"])
    for bit, key in ((16, "connection_info_schema"), (8, "source_environment_schema"),
                     (4, "destination_environment_schema")):  # fmt: skip
        schemas = api.call("GET", f"/providers/libvirt/schemas/{bit}").json["schemas"]
        assert schemas[key]["type"] == "object"


@pytest.mark.parametrize(("platform", "bit"), [("libvirt", 2097152), ("libvirt", "x"), ("atlantis", 16)])
def test_schemas_that_are_not_there(api: Api, platform: str, bit: object) -> None:
    assert_fault(api.call("GET", f"/providers/{platform}/schemas/{bit}"), 404, "itemNotFound")
