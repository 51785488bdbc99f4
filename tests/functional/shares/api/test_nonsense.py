"""Nonsense in every field, query and path of every route: it is refused or understood, and never a failure of ours."""

import copy
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import insert
from tests.functional.shares.api import made
from tests.functional.shares.api.parts import ADMIN, MEMBER, Shares
from tests.functional.shares.api.test_races import database_url as empty_mariadb

from isthmus.control.database import utc_now
from isthmus.shares.api.routes import all_routes
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import NEWEST
from isthmus.shares.tables import GroupTypeRow, GroupTypeShareTypeRow

database_url = empty_mariadb
"""A database that refuses what is too long or too large; SQLite takes it all."""

pytestmark = pytest.mark.nightly
"""Seven thousand calls: minutes."""

NONSENSE: tuple[object, ...] = (None, True, -1, 2**70, 1.5, "", " ", "é" * 300, [], [1], {}, {"a": {"b": 1}}, "0")
QUERIES = (
    *("limit=-1", "limit=x", f"limit={2**70}", f"offset={2**70}", "offset=-1", "offset=x"),
    *("sort_key=nothing", "sort_dir=up", "sort_key=id&sort_dir=", "all_tenants=perhaps", "with_count=perhaps"),
    *("metadata={[]:1}", "metadata={", "metadata=" + "(" * 3000, "metadata={'a':{'b':1}}", "extra_specs={[]:1}"),
    *("status=", "name~=%25", "created_since=x", "share_type=", "share_id=", "host=%5B", "user_id=&share_type=a"),
    *("is_public=perhaps", "project_id=", f"id={'x' * 300}", "size=x", "usage=x", "extra_specs=1", "access_to=1"),
)
CHANGES = {
    "shares": {"share": {"size": 1, "share_proto": "NFS", "name": "n", "description": "d", "metadata": {"k": "v"},
        "is_public": False, "snapshot_id": None, "share_network_id": None, "share_type": "gold", "share_group_id": None,
        "availability_zone": "nova", "scheduler_hints": {"same_host": "x"}, "mount_point_name": None,
        "encryption_key_ref": None}},
    "shares/manage": {"share": {"service_host": "node@alpha#pool", "export_path": "/x", "protocol": "NFS",
        "share_type": "gold", "driver_options": {}, "name": "n", "is_public": False, "description": "d"}},
    "share-access-rules": {"update_access": {"access_level": "ro"}},
    "snapshots": {"snapshot": {"share_id": "<share>", "name": "n", "description": "d", "metadata": {"k": "v"}}},
    "snapshots/manage": {"snapshot": {"share_id": "<share>", "provider_location": "x", "name": "n",
        "driver_options": {}}},
    "share-networks": {"share_network": {"name": "n", "description": "d", "neutron_net_id": None,
        "neutron_subnet_id": None, "availability_zone": None}},
    "share-networks/subnets": {"share-network-subnet": {"neutron_net_id": None, "neutron_subnet_id": None,
        "availability_zone": None, "metadata": {}}},
    "security-services": {"security_service": {"type": "ldap", "name": "n", "description": "d", "dns_ip": "1.1.1.1",
        "server": "s", "domain": "d", "user": "u", "password": "p", "ou": "o", "default_ad_site": "x"}},
    "types": {"share_type": {"name": "n", "description": "d", "share_type_access:is_public": True,
        "extra_specs": {"driver_handles_share_servers": "False", "snapshot_support": "True"}}},
    "types/extra_specs": {"extra_specs": {"snapshot_support": "True"}},
    "share-group-types": {"share_group_type": {"name": "n", "is_public": True, "share_types": ["<type>"],
        "group_specs": {"k": "v"}}},
    "share-group-types/group-specs": {"group_specs": {"k": "v"}},
    "share-groups": {"share_group": {"name": "n", "description": "d", "share_types": ["<type>"],
        "share_group_type_id": None, "share_network_id": None, "source_share_group_snapshot_id": None,
        "availability_zone": "nova"}},
    "share-group-snapshots": {"share_group_snapshot": {"share_group_id": "<group>", "name": "n", "description": "d"}},
    "share-replicas": {"share_replica": {"share_id": "<share>", "availability_zone": "nova", "scheduler_hints": {}}},
    "share-backups": {"share_backup": {"share_id": "<share>", "name": "n", "backup_options": {}}},
    "share-transfers": {"transfer": {"share_id": "<share>", "name": "n"}},
    "share-transfers/accept": {"accept": {"auth_key": "k", "clear_access_rules": False}},
    "resource-locks": {"resource_lock": {"resource_id": "<share>", "resource_type": "share",
        "resource_action": "delete", "lock_reason": "r"}},
    "qos-types": {"qos_type": {"name": "n", "description": "d", "specs": {"k": "v"}}},
    "qos-types/specs": {"specs": {"k": "v"}},
    "quota-sets": {"quota_set": {"shares": 1, "gigabytes": 1, "force": False}},
    "quota-class-sets": {"quota_class_set": {"shares": 1}},
    "services/ensure-shares": {"ensure_shares": {"host": "node@alpha"}},
    "services": {"host": "node@alpha", "binary": "manila-share", "disabled_reason": "r"},
    "metadata": {"metadata": {"k": "v"}, "meta": {"k": "v"}},
}  # fmt: skip
ACTIONS: dict[str, object] = {
    "allow_access": {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "rw", "metadata": {},
        "lock_visibility": False, "lock_deletion": False, "lock_reason": None},
    "deny_access": {"access_id": "x", "unrestrict": False},
    "extend": {"new_size": 2, "force": False}, "shrink": {"new_size": 1},
    "reset_status": {"status": "available"}, "reset_task_state": {"task_state": None}, "force_delete": None,
    "unmanage": None, "revert": {"snapshot_id": "<snapshot>"}, "soft_delete": None, "restore": None,
    "migration_start": {"host": "node@alpha#pool", "force_host_assisted_migration": False, "writable": False,
        "preserve_metadata": False, "preserve_snapshots": False, "nondisruptive": False, "new_share_network_id": None},
    "migration_complete": None, "migration_cancel": None, "migration_get_progress": None,
    "addProjectAccess": {"project": "p1"}, "removeProjectAccess": {"project": "p1"},
    "add_security_service": {"security_service_id": "x"}, "remove_security_service": {"security_service_id": "x"},
    "update_security_service": {"current_service_id": "x", "new_service_id": "y"},
    "update_security_service_check": {"current_service_id": "x", "new_service_id": "y", "reset_operation": False},
    "add_security_service_check": {"security_service_id": "x", "reset_operation": False},
    "share_network_subnet_create_check": {"neutron_net_id": None, "reset_operation": False},
    "access_list": None, "promote": None, "resync": None, "reset_replica_state": {"replica_state": "active"},
}  # fmt: skip


@pytest.fixture
def known(shares: Shares) -> dict[str, str]:
    """Return one of each thing by name."""
    type_id, group_type = shares.share_type(), str(uuid4())
    shares.back_end()
    with shares.database.transaction() as session:
        session.execute(insert(GroupTypeRow).values(id=group_type, name="gold-group", created_at=utc_now()))
        session.execute(insert(GroupTypeShareTypeRow).values(group_type_id=group_type, share_type_id=type_id))
    share = made.share(shares)
    rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.9"}}
    network = shares.post("/share-networks", {"share_network": {"name": "n"}}, by=MEMBER)["share_network"]
    service = {"security_service": {"type": "ldap", "name": "s"}}
    made.share_feature(shares, share, mount_snapshot_support=True, revert_to_snapshot_support=True)
    return {
        "share": share,
        "access": shares.post(f"/shares/{share}/action", rule, by=MEMBER)["access"]["id"],
        "snapshot": made.snapshot(shares, share),
        "type": type_id,
        "group_type": group_type,
        "group": shares.post("/share-groups", {"share_group": {}}, 202, by=MEMBER)["share_group"]["id"],
        "network": network["id"],
        "security": shares.post("/security-services", service, by=MEMBER)["security_service"]["id"],
        "project": "p1",
    }


_VARIABLES = {
    "share_id": "share", "rule_id": "access", "snapshot_id": "snapshot", "type_id": "type", "group_id": "group",
    "group_type_id": "group_type", "network_id": "network", "share_network_id": "network", "service_id": "security",
    "security_service_id": "security", "project_id": "project", "share_type_id": "type",
}  # fmt: skip


def paths(route_path: str, known: dict[str, str]) -> Iterator[str]:
    """Yield the path of what is there, of what is not, and of what never can be."""
    parts = route_path.split("/")
    for unknown in (str(uuid4()), "x" * 300, "%00", "a%2Fb", "é"):
        filled = [
            known.get(_VARIABLES.get(part[1:-1], ""), unknown) if part.startswith("{") else part for part in parts
        ]
        yield "/".join(filled)
        yield "/".join(unknown if part.startswith("{") else part for part in parts)


def bodies(route_path: str, known: dict[str, str]) -> Iterator[object]:
    """Yield a request that may be good, and it with nonsense in one place after the other."""
    for template in templates(route_path):
        whole = filled(template, known)
        yield whole
        for place in places(whole):
            for value in NONSENSE:
                yield replaced(whole, place, value)
    yield from ({}, {"nothing": {}}, {"a": 1, "b": 2}, [], None)


def templates(route_path: str) -> list[Any]:
    words = [part for part in route_path.split("/") if part and not part.startswith("{")]
    if words[-1] == "action":
        return [{name: argument} for name, argument in ACTIONS.items()]
    last = CHANGES.get(words[-1]) if words[-1] in {"metadata"} else None
    return [last or CHANGES.get("/".join(words)) or CHANGES.get(words[0].removeprefix("os-")) or {"x": 1}]


def filled(template: Any, known: dict[str, str]) -> Any:
    if isinstance(template, dict):
        return {key: filled(value, known) for key, value in template.items()}
    if isinstance(template, list):
        return [filled(value, known) for value in template]
    if isinstance(template, str) and template.startswith("<"):
        return known[template[1:-1]]
    return template


def places(body: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in body.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from places(value, (*before, key))


def replaced(body: Any, place: tuple[str, ...], value: object) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return changed


def test_no_body_is_a_failure_of_ours(shares: Shares, known: dict[str, str]) -> None:
    failed = []
    for route in every_route():
        if route.method not in {"POST", "PUT"}:
            continue
        path = next(paths(route.path, known))
        for body in bodies(route.path, known):
            answer = shares.call(route.method, path, body, by=ADMIN, experimental=True)
            if answer.status_code >= 500 and answer.status_code != 501:
                failed.append(f"{route.method} {path} {str(body)[:300]}: {answer.text}")
    assert failed == []


def test_no_query_and_no_path_is_a_failure_of_ours(shares: Shares, known: dict[str, str]) -> None:
    failed = []
    for route in every_route():
        tried = list(paths(route.path, known)) if "{" in route.path else [route.path]
        if route.method == "GET":
            tried += [f"{tried[0]}?{query}" for query in QUERIES]
        for path in tried:
            body: object = {} if route.method in {"POST", "PUT"} else None
            answer = shares.call(route.method, path, body, by=ADMIN, experimental=True)
            if answer.status_code >= 500 and answer.status_code != 501:
                failed.append(f"{route.method} {path[:200]}: {answer.text}")
    assert failed == []


def every_route() -> list[Route]:
    found = [route for routes in all_routes()._routes.values() for _, route in routes]
    newest = [route for route in found if route.until == NEWEST]
    # What takes things away comes last.
    return sorted(newest, key=lambda route: ("GET", "PUT", "POST", "DELETE").index(route.method))
