"""Bad input to the shares API: each is answered in Manila's error form, and changes nothing."""

import json
import uuid

import pytest
import requests
from lab.share_user import ShareUser
from tests.share_victim import HUGE, LONG, UNKNOWN, Victim

pytestmark = pytest.mark.usefixtures("unchanged")


@pytest.mark.parametrize("size", [0, -1, "ten", "", 1.5, "1.5", None, True, [], {}, HUGE, "0x10", " 1", "\u0661"])
def test_a_size_that_is_no_whole_number_of_gib(victim: Victim, size: object) -> None:
    victim.user.fault(400, "POST", "/shares", {"share": {"size": size, "share_proto": "NFS"}})


def test_a_size_that_is_missing(victim: Victim) -> None:
    victim.user.fault(400, "POST", "/shares", {"share": {"share_proto": "NFS"}})


@pytest.mark.parametrize("protocol", ["FTP", "NFS;", "nfs\n", "CEPHFS", "", None, 7, ["NFS"], "N" * 300])
def test_a_protocol_that_is_not_served(victim: Victim, protocol: object) -> None:
    victim.user.fault(400, "POST", "/shares", {"share": {"size": 1, "share_proto": protocol}})


@pytest.mark.parametrize(
    "wish",
    [
        {"name": LONG},
        {"name": 7},
        {"name": ["a"]},
        {"description": LONG},
        {"description": {"a": 1}},
        {"is_public": "perhaps"},
        {"metadata": "text"},
        {"metadata": ["a"]},
        {"metadata": {"": "empty key"}},
        {"metadata": {LONG: "long key"}},
        {"metadata": {"long value": "x" * 1024}},
        {"metadata": {"number": 7}},
        {"share_type": 7},
        {"share_type": ["default"]},
        {"snapshot_id": 7},
        {"snapshot_id": ["a"]},
        {"share_network_id": 7},
        {"share_group_id": 7},
        {"availability_zone": 7},
        {"scheduler_hints": "text"},
        {"scheduler_hints": {"same_host": "no-id"}},
        {"encryption_key_ref": "no-id"},
        {"mount_point_name": "../../etc"},
    ],
    ids=str,
)
def test_a_share_with_a_wrong_field(victim: Victim, wish: dict[str, object]) -> None:
    victim.user.fault(400, "POST", "/shares", {"share": {"size": 1, "share_proto": "NFS", **wish}})


@pytest.mark.parametrize(
    "field", ["share_type", "snapshot_id", "share_network_id", "share_group_id", "availability_zone"]
)
def test_a_share_of_something_unknown(victim: Victim, field: str) -> None:
    message = victim.user.fault(404, "POST", "/shares", {"share": {"size": 1, "share_proto": "NFS", field: UNKNOWN}})
    assert message


@pytest.mark.parametrize(
    "body", [{}, {"share": None}, {"share": "text"}, {"share": [1]}, {"volume": {"size": 1}}], ids=str
)
def test_a_body_without_a_share(victim: Victim, body: object) -> None:
    victim.user.fault(422, "POST", "/shares", body)


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nothing",
        b'{"share": {"size": 1,}}',
        b"\xff\xfe",
        b'"text"',
        b"[]",
        b"null",
        b"7",
        b'{"share": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["open", "word", "comma", "bytes", "text", "list", "null", "number", "deep"],
)
def test_a_body_that_is_no_object(victim: Victim, raw: bytes) -> None:
    victim.user.fault(400, "POST", "/shares", raw=raw)


def test_a_huge_body(victim: Victim) -> None:
    raw = json.dumps({"share": {"size": 1, "share_proto": "NFS", "name": "x" * (8 << 20)}}).encode()
    victim.user.fault(413, "POST", "/shares", raw=raw)


@pytest.mark.parametrize(
    "identity",
    [
        UNKNOWN,
        "victim",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%00",
        "'%20OR%20'1'='1",
        "x" * 3000,
        "%F0%9F%A6%A9",
        "%ff%fe",
        "*",
    ],
)
@pytest.mark.parametrize(
    "where", ["/shares/{}", "/snapshots/{}", "/share-access-rules/{}", "/shares/{}/export_locations"]
)
def test_an_unknown_id(victim: Victim, where: str, identity: str) -> None:
    victim.user.fault(404, "GET", where.format(identity))


@pytest.mark.parametrize(("version", "status"), [("2.100", 406), ("3.0", 406), ("1.0", 406), ("2.99999999999", 406)])
def test_a_microversion_that_is_not_served(victim: Victim, version: str, status: int) -> None:
    message = victim.user.fault(status, "GET", "/shares", version=version)
    assert "2.0" in message
    assert "2.99" in message


@pytest.mark.parametrize("version", ["latest", "2", "two", "2.07", "2.1.1", "-2.1", ""])
def test_a_microversion_that_is_none(victim: Victim, version: str) -> None:
    victim.user.fault(400, "GET", "/shares", version=version)


def test_a_call_without_a_token(victim: Victim) -> None:
    url = victim.user.call("GET", "/shares").url
    for headers in ({}, {"X-Auth-Token": "forged"}, {"X-Roles": "admin", "X-Identity-Status": "Confirmed"}):
        assert requests.get(url, headers=headers, timeout=30).status_code == 401


@pytest.mark.parametrize("query", ["limit=-1", "limit=many", "offset=-5", "offset=x", "sort_key=secret", "sort_dir=up"])
def test_a_list_in_a_way_that_there_is_not(victim: Victim, query: str) -> None:
    victim.user.fault(400, "GET", f"/shares/detail?{query}")


@pytest.mark.parametrize(
    "name", ["../../../../etc/passwd", "/etc/shadow", "$(reboot)", "a\nb", "'; DROP TABLE shares; --", "🦩"]
)
def test_a_name_is_nothing_but_a_name(stranger: ShareUser, name: str) -> None:
    made = stranger.share(name=name, description=name)

    assert (made["name"], made["description"]) == (name, name)
    assert not [path for path in stranger.exports(made) if name in path or ".." in path]
    stranger.delete(made)


def test_a_nul_is_not_taken_for_text(victim: Victim) -> None:
    answer = victim.user.call(
        "POST", "/shares", {"share": {"size": 1, "share_proto": "NFS", "name": f"a\0{uuid.uuid4()}"}}
    )
    assert answer.status_code == 400, answer.text
