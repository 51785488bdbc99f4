"""The cloud under test, as OS_* variables name it, and what must be in it before the suite runs."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keystoneauth1 import adapter, exceptions, session
from keystoneauth1.identity import v3

VERSION = "2.80"
POOLS_LIMIT = 60.0
SHARE_TYPE = "default"
EXTRA_SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
    "revert_to_snapshot_support": "True",
    "mount_snapshot_support": "True",
}
"""Of the type that every test uses which names none: all that a dummy back end can do."""


@dataclass(frozen=True)
class Cloud:
    """An administrator's credentials, and the catalogue's type of the service under test."""

    auth_url: str
    username: str
    password: str = field(repr=False)
    project: str
    region: str
    service_type: str = "shared-file-system"


def cloud_of(environment: Mapping[str, str], service_type: str) -> Cloud:
    """Read the cloud from OS_* variables. Raises KeyError naming one that is missing."""
    return Cloud(
        auth_url=environment["OS_AUTH_URL"],
        username=environment["OS_USERNAME"],
        password=environment["OS_PASSWORD"],
        project=environment["OS_PROJECT_NAME"],
        region=environment.get("OS_REGION_NAME", "RegionOne"),
        service_type=service_type,
    )


def client(cloud: Cloud) -> Any:
    """Return a REST client of the shares service that answers with whatever status came."""
    return adapter.Adapter(
        _session(cloud),
        service_type=cloud.service_type,
        region_name=cloud.region,
        interface="public",
        raise_exc=False,
        additional_headers={"X-OpenStack-Manila-API-Version": VERSION, "Accept": "application/json"},
    )


def keystone(cloud: Cloud) -> Any:
    """Return a REST client of the cloud's Keystone that raises on errors."""
    return adapter.Adapter(
        _session(cloud), service_type="identity", region_name=cloud.region, interface="public", raise_exc=True
    )


def _session(cloud: Cloud) -> Any:
    auth = v3.Password(
        auth_url=cloud.auth_url,
        username=cloud.username,
        password=cloud.password,
        project_name=cloud.project,
        user_domain_name="Default",
        project_domain_name="Default",
    )
    return session.Session(auth=auth)


def prepare(cloud: Cloud, pools: int) -> list[str]:
    """Make the default share type and group type, wait for `pools` pools; return complaints about what did not work.

    They are complaints and no errors: the suite shows much of a service that cannot do all of this yet.
    """
    rest = client(cloud)
    try:
        complaints = [_ensure_share_type(rest), _ensure_group_type(rest), _await_pools(rest, pools)]
    except exceptions.ClientException as error:
        return [f"the shares service does not answer: {error}"]
    return [complaint for complaint in complaints if complaint]


def _ensure_share_type(rest: Any) -> str | None:
    body = {"share_type": {"name": SHARE_TYPE, "share_type_access:is_public": True, "extra_specs": EXTRA_SPECS}}
    known = rest.get("/types", params={"is_public": "all"})
    if known.status_code == 200 and any(kind["name"] == SHARE_TYPE for kind in known.json()["share_types"]):
        return None
    made = rest.post("/types", json=body)
    return None if made.ok else f"POST /types: {made.status_code} {made.text[:200]}"


def _ensure_group_type(rest: Any) -> str | None:
    known = rest.get("/share-group-types", params={"is_public": "all"})
    if known.status_code == 200 and any(kind["name"] == SHARE_TYPE for kind in known.json()["share_group_types"]):
        return None
    kinds = rest.get("/types")
    if not kinds.ok:
        return f"GET /types: {kinds.status_code} {kinds.text[:200]}"
    chosen = [kind["id"] for kind in kinds.json()["share_types"] if kind["name"] == SHARE_TYPE]
    body = {"share_group_type": {"name": SHARE_TYPE, "is_public": True, "share_types": chosen}}
    made = rest.post("/share-group-types", json=body)
    return None if made.ok else f"POST /share-group-types: {made.status_code} {made.text[:200]}"


def _await_pools(rest: Any, wanted: int) -> str | None:
    deadline = time.monotonic() + POOLS_LIMIT
    while True:
        answer = rest.get("/scheduler-stats/pools")
        if not answer.ok:
            return f"GET /scheduler-stats/pools: {answer.status_code} {answer.text[:200]}"
        known = len(answer.json()["pools"])
        if known >= wanted:
            return None
        if time.monotonic() > deadline:
            return f"{known} pools after {POOLS_LIMIT:.0f} s, {wanted} expected"
        time.sleep(0.5)


def from_environment(service_type: str) -> Cloud:
    """Read the cloud from this process's own variables."""
    return cloud_of(os.environ, service_type)
