"""Security services; their passwords are Barbican's alone."""

from typing import Any

import pytest
from sqlalchemy import select, text
from tests.functional.shares.api.parts import ADMIN, COLLEAGUE, MEMBER, READER, STRANGER, Shares, refused

from isthmus.control.errors import Unavailable
from isthmus.shares.tables import SecurityServiceRow

SERVICES = "/security-services"
PASSWORD = "correct horse battery staple"


def make(shares: Shares, kind: str = "ldap", *, by: Any = MEMBER, **facts: Any) -> dict[str, Any]:
    body = {"security_service": {"type": kind, **facts}}
    made: dict[str, Any] = shares.post(SERVICES, body, by=by)["security_service"]
    return made


def test_a_security_service_is_shown_as_it_was_given(shares: Shares) -> None:
    facts = {"name": "n", "description": "d", "dns_ip": "1.2.3.4", "server": "s", "domain": "x", "user": "u", "ou": "o"}
    made = make(shares, **facts)
    assert {name: made[name] for name in facts} == facts
    assert (made["status"], made["project_id"], made["password"], made["updated_at"]) == ("new", "p1", None, None)
    assert shares.get(f"{SERVICES}/{made['id']}", by=READER)["security_service"] == made


@pytest.mark.parametrize(("version", "count"), [("2.43", 13), ("2.44", 14), ("2.76", 15)])
def test_fields_come_with_versions(shares: Shares, version: str, count: int) -> None:
    identity = make(shares)["id"]
    assert len(shares.get(f"{SERVICES}/{identity}", by=MEMBER, version=version)["security_service"]) == count


def test_a_password_is_kept_in_barbican_alone(shares: Shares) -> None:
    made = make(shares, password=PASSWORD)
    assert made["password"] == PASSWORD
    assert list(shares.vault.secrets.values()) == [{"password": PASSWORD}]
    with shares.database.transaction() as session:
        rows = session.execute(text("select * from share_security_services")).all()
    assert PASSWORD not in str(rows)


def test_a_password_is_shown_to_those_who_see_the_security_service(shares: Shares) -> None:
    path = f"{SERVICES}/{make(shares, password=PASSWORD)['id']}"
    assert shares.get(path, by=COLLEAGUE)["security_service"]["password"] == PASSWORD
    refused(shares.call("GET", path, by=STRANGER), 403)
    shares.vault.secrets.clear()
    assert shares.get(path, by=MEMBER)["security_service"]["password"] is None


def test_a_new_password_replaces_the_old_secret(shares: Shares) -> None:
    path = f"{SERVICES}/{make(shares, password='old')['id']}"
    changed = shares.put(path, {"security_service": {"password": "new", "name": "n"}}, by=MEMBER)
    assert changed["security_service"]["password"] == "new"
    assert list(shares.vault.secrets.values()) == [{"password": "new"}]
    shares.put(path, {"security_service": {"password": None}}, by=MEMBER)
    assert shares.vault.secrets == {}
    assert shares.get(path, by=MEMBER)["security_service"]["password"] is None


def test_a_deleted_security_service_takes_its_secret_along(shares: Shares) -> None:
    path = f"{SERVICES}/{make(shares, password=PASSWORD)['id']}"
    shares.delete(path, by=MEMBER)
    assert shares.vault.secrets == {}
    refused(shares.call("GET", path, by=MEMBER), 404)


def test_without_barbican_no_password_is_taken(shares: Shares) -> None:
    shares.vault.broken = Unavailable("Barbican does not answer")
    body = {"security_service": {"type": "ldap", "password": PASSWORD}}
    refused(shares.call("POST", SERVICES, body, by=MEMBER), 503)
    shares.vault.broken = None
    assert shares.get(SERVICES, by=MEMBER)["security_services"] == []


def test_a_refused_change_leaves_no_secret(shares: Shares) -> None:
    path = f"{SERVICES}/{make(shares, password='old')['id']}"
    wrong = {"security_service": {"password": "new", "type": "odd"}}
    refused(shares.call("PUT", path, wrong, by=MEMBER), 400)
    assert list(shares.vault.secrets.values()) == [{"password": "old"}]
    assert shares.get(path, by=MEMBER)["security_service"]["password"] == "old"


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 422), ({"security_service": {}}, 400), ({"security_service": {"type": "odd"}}, 400),
     ({"security_service": {"type": "ldap", "name": "x" * 256}}, 400),
     ({"security_service": {"type": "ldap", "password": 5}}, 400),
     ({"security_service": {"type": "active_directory", "server": "s", "default_ad_site": "d"}}, 400)],
)  # fmt: skip
def test_wrong_security_services_are_refused(shares: Shares, body: dict[str, Any], status: int) -> None:
    refused(shares.call("POST", SERVICES, body, by=MEMBER), status)
    with shares.database.transaction() as session:
        assert session.scalars(select(SecurityServiceRow.id)).all() == []


def test_a_site_needs_2_76(shares: Shares) -> None:
    body = {"security_service": {"type": "active_directory", "default_ad_site": "d"}}
    refused(shares.call("POST", SERVICES, body, by=MEMBER, version="2.75"), 400, "2.76")


def test_lists_are_the_projects_own(shares: Shares) -> None:
    make(shares, name="mine")
    make(shares, name="theirs", by=STRANGER)
    assert [each["name"] for each in shares.get(SERVICES, by=MEMBER)["security_services"]] == ["mine"]
    assert [each["name"] for each in shares.get(f"{SERVICES}?all_tenants=1", by=MEMBER)["security_services"]] == [
        "mine"
    ]
    everybody = shares.get(f"{SERVICES}?all_tenants=1", by=ADMIN)["security_services"]
    assert {each["name"] for each in everybody} == {"mine", "theirs"}


def test_lists_are_filtered_and_paged(shares: Shares) -> None:
    for name in ("a", "b", "c"):
        make(shares, name=name, user=f"user-{name}")
    assert [each["name"] for each in shares.get(f"{SERVICES}?user=user-b", by=MEMBER)["security_services"]] == ["b"]
    paged = shares.get(f"{SERVICES}/detail?limit=1&offset=1", by=MEMBER)["security_services"]
    assert [each["name"] for each in paged] == ["b"]
    assert paged[0]["share_networks"] == []
    assert len(shares.get(f"{SERVICES}?odd=1", by=MEMBER)["security_services"]) == 3
    assert shares.get(f"{SERVICES}?odd=1&all_tenants=1")["security_services"] == []


def test_others_neither_see_nor_change(shares: Shares) -> None:
    path = f"{SERVICES}/{make(shares)['id']}"
    refused(shares.call("PUT", path, {"security_service": {"name": "x"}}, by=STRANGER), 403)
    refused(shares.call("DELETE", path, by=STRANGER), 403)
    refused(shares.call("DELETE", path, by=READER), 403)
    refused(shares.call("GET", f"{SERVICES}/none", by=MEMBER), 404)
    refused(shares.call("PUT", path, {}, by=MEMBER), 422)
