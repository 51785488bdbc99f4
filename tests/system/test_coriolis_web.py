"""What Coriolis' web interface sends, in its forms and order, to a real API with a real Keystone and Barbican.

The interface itself is a program for browsers that needs services of its own; these are its calls as its sources make
them, the odd ones included: schedules without an envelope, nulls for what was not chosen, base64 in paths and queries,
the plural sort keys, connection details that it writes to Barbican itself, and replaces by deleting the old first.
"""

import base64
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab.control_plane import ControlPlane
from lab.rest_user import RestUser
from tests.image_packages import make_site

MIB = 1 << 20
CONNECTION, SOURCE, DESTINATION = 16, 8, 4
NEWEST_FIRST = "sort_key=updated_at&sort_dir=desc"


def encoded(value: object) -> str:
    """Return what it puts into paths and queries: base64 of a text as it is, of anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


class Web:
    """The interface with one user logged in."""

    def __init__(self, user: RestUser) -> None:
        self.user = user
        token = user.call("GET", f"{user.auth_url}/auth/catalog").json()["catalog"]
        (manager,) = (each for each in token if each["type"] == "key-manager")
        self.secrets = f"{manager['endpoints'][0]['url'].rstrip('/')}/v1/secrets"

    def get(self, path: str) -> Any:
        return self.user.made("GET", path)

    def secret(self, details: object) -> str:
        """Write connection details to Barbican, as it does, and return their reference."""
        body = {"payload": json.dumps(details), "payload_content_type": "text/plain", "algorithm": "aes"}
        return str(self.user.made("POST", self.secrets, body)["secret_ref"])

    def endpoint(self, name: str, details: object) -> dict[str, Any]:
        body = {
            "name": name,
            "mapped_regions": [],
            "description": "",
            "type": "images",
            "connection_info": {"secret_ref": self.secret(details)},
        }
        made: dict[str, Any] = self.user.made("POST", "/endpoints", {"endpoint": body})["endpoint"]
        return made

    def remove(self, path: str) -> None:
        """Delete an endpoint as soon as what a deleted transfer has left there is removed."""
        deadline = time.monotonic() + 60
        while (answer := self.user.call("DELETE", path)).status_code == 409 and time.monotonic() < deadline:
            time.sleep(0.3)
        assert answer.status_code == 204, answer.text


@pytest.fixture
def web(control_plane: ControlPlane) -> Web:
    return Web(RestUser.of(control_plane.demo_environment))


@pytest.fixture
def ends(web: Web, tmp_path: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Two directories of images as endpoints; in the first are three machines."""
    sites = [make_site(tmp_path / side) for side in ("from", "to")]
    for name in ("web-a", "web-b", "web-c"):
        image = Path(sites[0]["path"]) / f"{name}.raw"
        image.write_bytes(os.urandom(2 * MIB))
        os.truncate(image, 8 * MIB)
    made = [web.endpoint(f"cw-{side}", site) for side, site in zip(("from", "to"), sites, strict=True)]
    yield made[0], made[1]
    for each in made:
        web.remove(f"/endpoints/{each['id']}")


def test_endpoints_and_the_pages_that_ask_them(web: Web, ends: tuple[dict[str, Any], dict[str, Any]]) -> None:
    origin, destination = ends
    path = f"/endpoints/{origin['id']}"
    assert {each["id"] for each in web.get("/endpoints")["endpoints"]} >= {origin["id"], destination["id"]}
    assert web.user.made("POST", f"{path}/actions", {"validate-connection": None})["validate-connection"]["valid"]
    assert web.get("/providers")["providers"]["images"]["types"]
    for kind in (CONNECTION, SOURCE, DESTINATION):
        assert web.get(f"/providers/images/schemas/{kind}")["schemas"]

    (first, second) = web.get(f"{path}/instances?limit=2")["instances"]
    (third,) = web.get(f"{path}/instances?limit=2&marker={second['id']}&refresh=true")["instances"]
    assert [each["name"] for each in (first, second, third)] == ["web-a", "web-b", "web-c"]
    found = web.get(f"{path}/instances?limit=6&name=web-b&env={encoded({})}")["instances"]
    assert [each["id"] for each in found] == [second["id"]]
    shown = web.get(f"{path}/instances/{encoded(first['id'])}?env={encoded({})}")["instance"]
    assert shown["devices"]["disks"][0]["size_bytes"] == 8 * MIB

    away = f"/endpoints/{destination['id']}"
    assert web.get(f"{away}/networks?env={encoded({})}")["networks"] is not None
    storage = web.get(f"{away}/storage?env={encoded({})}")["storage"]
    assert storage["storage_backends"][0]["name"] == storage["config_default"]
    assert isinstance(web.get(f"{path}/source-options")["source_options"], list)
    assert isinstance(web.get(f"{away}/destination-options?env={encoded({})}")["destination_options"], list)
    inventory = web.user.call("GET", f"{path}/inventory")
    assert inventory.headers["Content-Type"].startswith("text/csv")
    assert inventory.text.count("web-") >= 3
    assert isinstance(web.get("/regions")["regions"], list)

    # A change of the details: it deletes the secret, writes another and says so.
    details = json.loads(web.user.call("GET", f"{origin['connection_info']['secret_ref']}/payload").text)
    web.user.made("DELETE", origin["connection_info"]["secret_ref"])
    fresh = {"secret_ref": web.secret(details)}
    body = {"name": "cw-renamed", "mapped_regions": [], "description": "twice", "connection_info": fresh}
    changed = web.user.made("PUT", path, {"endpoint": body})["endpoint"]
    assert (changed["name"], changed["connection_info"]) == ("cw-renamed", fresh)
    assert web.user.made("POST", f"{path}/actions", {"validate-connection": None})["validate-connection"]["valid"]


def test_a_transfer_by_the_wizard_to_its_deployment_and_its_end(
    web: Web, ends: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    origin, destination = ends
    (backend,) = web.get(f"/endpoints/{destination['id']}/storage?env={encoded({})}")["storage"]["storage_backends"]
    wizard = {
        "origin_endpoint_id": origin["id"],
        "destination_endpoint_id": destination["id"],
        "network_map": {},
        "instances": ["web-a"],
        "storage_mappings": {"default": backend["name"]},
        "notes": "web-a",
        "skip_os_morphing": True,
        "source_environment": {},
        "destination_environment": {},
        "user_scripts": {"global": {"linux": [{"phase": "osmorphing_post_os_mount", "payload": "exit 0"}]}},
        "clone_disks": True,
        "scenario": "replica",
    }
    transfer = web.user.made("POST", "/transfers", {"transfer": wizard})["transfer"]
    path = f"/transfers/{transfer['id']}"
    listed = web.get(f"/transfers?{NEWEST_FIRST}&limit=50")["transfers"]
    assert listed[0]["id"] == transfer["id"]
    assert web.get(f"/transfers?{NEWEST_FIRST}&marker={transfer['id']}") is not None
    assert web.get(path)["transfer"]["executions"] == []

    wishes = {"execution": {"shutdown_instances": False, "auto_deploy": False}}
    run = web.user.made("POST", f"{path}/executions", wishes)["execution"]
    assert run["tasks"] == []
    assert web.user.ended(f"{path}/executions/{run['id']}", "execution")["status"] == "COMPLETED"
    assert web.get(f"{path}?include_task_info=true")["transfer"]["info"]
    (newest,) = web.get(f"{path}/executions?limit=1&sort_keys=number&sort_dirs=desc")["executions"]
    assert newest["id"] == run["id"]

    _plan_it(web, path)
    scripts = {"global": {"linux": None}, "instances": {}}
    change = {"notes": "renamed", "storage_mappings": {"default": backend["name"]}, "user_scripts": scripts}
    update = web.user.made("PUT", path, {"transfer": change})["execution"]
    assert web.user.ended(f"{path}/executions/{update['id']}", "execution")["status"] == "COMPLETED"
    assert web.get(path)["transfer"]["notes"] == "renamed"

    options = {"transfer_id": transfer["id"], "clone_disks": True, "skip_os_morphing": True, "force": False}
    mappings = {"instance_osmorphing_minion_pool_mappings": None}
    made = web.user.made("POST", "/deployments", {"deployment": options | mappings})["deployment"]
    ended = web.user.ended(f"/deployments/{made['id']}?include_task_info=true", "deployment")
    assert ended["last_execution_status"] == "COMPLETED"
    assert web.get(f"/deployments?{NEWEST_FIRST}")["deployments"][0]["id"] == made["id"]
    # To make one again it sends what it knows of the old one, which has no transfer: its user is told what lacks.
    again = {"deployment": {"instances": ["web-a"], "network_map": {}, "skip_os_morphing": True}}
    assert "transfer_id" in web.user.fault(400, "POST", "/deployments", again)
    web.user.made("DELETE", f"/deployments/{made['id']}")

    removal = web.user.made("POST", f"{path}/actions", {"delete-disks": None})["execution"]
    assert web.user.ended(f"{path}/executions/{removal['id']}", "execution")["status"] == "COMPLETED"
    web.user.made("DELETE", f"{path}/executions/{run['id']}")
    web.user.made("DELETE", path)
    assert transfer["id"] not in [each["id"] for each in web.get(f"/transfers?{NEWEST_FIRST}")["transfers"]]


def _plan_it(web: Web, path: str) -> None:
    """Make, change and remove a schedule, which it sends without an envelope."""
    body = {
        "schedule": {"hour": 3, "minute": 0},
        "expiration_date": None,
        "enabled": False,
        "shutdown_instance": False,
        "auto_deploy": False,
    }
    made = web.user.made("POST", f"{path}/schedules", body)["schedule"]
    plain = web.user.made("POST", f"{path}/schedules", {"schedule": {"hour": 0, "minute": 0}, "enabled": False})
    assert plain["schedule"]["schedule"] == {"hour": 0, "minute": 0}
    change = {"enabled": True, "expiration_date": "2099-01-01T00:00:00.000Z", "schedule": {"hour": 4, "minute": 0}}
    changed = web.user.made("PUT", f"{path}/schedules/{made['id']}", change)["schedule"]
    assert (changed["enabled"], changed["schedule"]) == (True, {"hour": 4, "minute": 0})
    assert {each["id"] for each in web.get(f"{path}/schedules")["schedules"]} == {made["id"], plain["schedule"]["id"]}
    for each in (made["id"], plain["schedule"]["id"]):
        web.user.made("DELETE", f"{path}/schedules/{each}")


def test_minion_pools(web: Web, ends: tuple[dict[str, Any], dict[str, Any]]) -> None:
    origin, _ = ends
    options = web.get(f"/endpoints/{origin['id']}/source-minion-pool-options?env={encoded({})}")
    assert isinstance(options["source_minion_pool_options"], list)
    body = {
        "name": "pool",
        "os_type": "linux",
        "platform": "source",
        "minimum_minions": 1,
        "maximum_minions": 2,
        "minion_max_idle_time": 3600,
        "minion_retention_strategy": "delete",
        "skip_allocation": True,
        "notes": "",
        "endpoint_id": origin["id"],
        "environment_options": {},
    }
    pool = web.user.made("POST", "/minion_pools", {"minion_pool": body})["minion_pool"]
    path = f"/minion_pools/{pool['id']}"
    changes = {key: value for key, value in body.items() if key not in {"endpoint_id", "platform", "skip_allocation"}}
    changed = web.user.made("PUT", path, {"minion_pool": changes | {"maximum_minions": 3}})["minion_pool"]
    assert changed["maximum_minions"] == 3
    web.user.made("POST", f"{path}/actions", {"allocate": None})
    shown = web.get(path)["minion_pool"]
    assert {"events", "progress_updates", "minion_machines", "status"} <= shown.keys()
    web.user.made("POST", f"{path}/actions", {"deallocate": {"force": True}})
    web.user.made("DELETE", path)
