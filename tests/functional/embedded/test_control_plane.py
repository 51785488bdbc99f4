"""The control plane of one machine, with every real part: one state directory goes through a hard life."""

import ipaddress
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from lab.control_plane import ControlPlane, free_ports

from isthmus.embedded import processes
from isthmus.embedded.credentials import Credentials
from isthmus.embedded.plane import PART_NAMES

ANSWER_SECONDS = 20


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane() as started:
        yield started


def log_in(environment: dict[str, str]) -> requests.Response:
    """Ask Keystone for a token, as the OS_* variables say."""
    user = {"name": environment["OS_USERNAME"], "domain": {"name": environment["OS_USER_DOMAIN_NAME"]}}
    project = {"name": environment["OS_PROJECT_NAME"], "domain": {"name": environment["OS_PROJECT_DOMAIN_NAME"]}}
    password = {"user": {**user, "password": environment["OS_PASSWORD"]}}
    body: dict[str, Any] = {
        "auth": {"identity": {"methods": ["password"], "password": password}, "scope": {"project": project}}
    }
    answer = requests.post(f"{environment['OS_AUTH_URL']}/auth/tokens", json=body, timeout=ANSWER_SECONDS)
    answer.raise_for_status()
    return answer


def headers_of(plane: ControlPlane, user: str) -> dict[str, str]:
    return {"X-Auth-Token": log_in(plane.environment(user)).headers["X-Subject-Token"]}


def catalog_of(plane: ControlPlane) -> dict[str, str]:
    catalog = log_in(plane.environment("demo")).json()["token"]["catalog"]
    return {service["type"]: service["endpoints"][0]["url"] for service in catalog}


def secrets_url(plane: ControlPlane) -> str:
    return f"{catalog_of(plane)['key-manager']}/v1/secrets"


def store_secret(plane: ControlPlane, payload: str) -> str:
    body = {"payload": payload, "payload_content_type": "text/plain"}
    answer = requests.post(secrets_url(plane), json=body, headers=headers_of(plane, "demo"), timeout=ANSWER_SECONDS)
    answer.raise_for_status()
    reference: str = answer.json()["secret_ref"]
    return reference.rsplit("/", 1)[-1]


def read_secret(plane: ControlPlane, identifier: str) -> str:
    answer = requests.get(
        f"{secrets_url(plane)}/{identifier}/payload",
        headers={**headers_of(plane, "demo"), "Accept": "text/plain"},
        timeout=ANSWER_SECONDS,
    )
    answer.raise_for_status()
    return answer.text


def parts_of(plane: ControlPlane) -> list[psutil.Process]:
    return processes.marked(plane.state_dir)


def test_status_shows_every_part_running_with_its_pid_address_and_memory(plane: ControlPlane) -> None:
    parts = plane.parts()
    assert tuple(parts) == PART_NAMES
    for row in parts.values():
        assert row["state"] == "running"
        assert psutil.pid_exists(int(str(row["pid"])))
        assert row["address"]
        assert int(str(row["memory"])) > 128 * 1024, row


@pytest.mark.parametrize(("user", "may_list_users"), [("admin", True), ("demo", False)])
def test_env_logs_in_as_the_user_it_names(plane: ControlPlane, user: str, may_list_users: bool) -> None:
    environment = plane.environment(user)
    url = f"{environment['OS_AUTH_URL']}/users"
    answer = requests.get(url, headers=headers_of(plane, user), timeout=ANSWER_SECONDS)
    assert answer.status_code == (200 if may_list_users else 403)


def test_clouds_yaml_names_both_users_with_working_passwords(plane: ControlPlane) -> None:
    clouds = yaml.safe_load((plane.state_dir / "clouds.yaml").read_text())["clouds"]
    assert list(clouds) == ["isthmus-admin", "isthmus"]
    for cloud in clouds.values():
        log_in({f"OS_{name.upper()}": value for name, value in cloud["auth"].items()})


def test_the_catalogue_carries_migration_under_the_project(plane: ControlPlane) -> None:
    project = log_in(plane.environment("demo")).json()["token"]["project"]["id"]
    catalog = catalog_of(plane)
    assert set(catalog) == {"identity", "key-manager", "migration", "shared-file-system", "sharev2"}
    assert catalog["migration"] == f"{plane.api_url}/v1/{project}"


def test_the_api_asks_for_a_token_and_takes_a_real_one(plane: ControlPlane) -> None:
    url = f"{catalog_of(plane)['migration']}/endpoints"
    assert requests.get(url, timeout=ANSWER_SECONDS).status_code == 401
    assert requests.get(url, headers=headers_of(plane, "demo"), timeout=ANSWER_SECONDS).status_code == 200


def test_only_the_owner_can_read_the_state(plane: ControlPlane) -> None:
    assert stat.S_IMODE(plane.state_dir.stat().st_mode) == 0o700
    for name in ("credentials.json", "isthmus.conf", "clouds.yaml", "keystone/keystone.conf", "mariadb/init.sql"):
        assert stat.S_IMODE((plane.state_dir / name).stat().st_mode) == 0o600, name


def test_no_secret_stands_in_argv_or_in_a_log(plane: ControlPlane) -> None:
    secrets = asdict(Credentials(**json.loads((plane.state_dir / "credentials.json").read_text()))).values()
    seen = [" ".join(process.cmdline()) for process in parts_of(plane)]
    seen += [log.read_text(errors="replace") for log in (plane.state_dir / "log").iterdir()]
    assert len(seen) > len(PART_NAMES)
    assert not [secret for secret in secrets for text in seen if secret in text]


def test_all_listen_on_loopback_only_and_mariadb_on_no_port(plane: ControlPlane) -> None:
    listening = {
        (process.environ()[processes.PART_VARIABLE], connection.laddr.ip)
        for process in parts_of(plane)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {address for _, address in listening if not _is_loopback(address)} == set()
    assert {part for part, _ in listening} == {"keystone", "barbican", "temporal", "api", "nfs", "smb"}


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text)
    # NFS-Ganesha has sockets for both versions: 127.0.0.1 is ::ffff:127.0.0.1 there.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def test_a_second_up_is_refused_and_names_the_first(plane: ControlPlane) -> None:
    supervisor = plane.supervisor()
    with pytest.raises(RuntimeError, match=rf"already runs on {plane.state_dir} \(supervisor pid {supervisor}\)"):
        plane.start()


def test_logs_prints_the_last_lines_of_a_part(plane: ControlPlane) -> None:
    assert len(plane.run("logs", "mariadb", "--lines", "3").splitlines()) == 3


def test_a_taken_port_is_named_with_its_owner_before_anything_starts(tmp_path: Path) -> None:
    plane = ControlPlane(tmp_path / "s")
    with socket.create_server(("127.0.0.1", plane.ports["keystone"])):
        me = re.escape(f"{psutil.Process().name()} (pid {os.getpid()})")
        with pytest.raises(RuntimeError, match=f"port {plane.ports['keystone']} \\(for keystone\\) is taken by {me}"):
            plane.start()
    assert not parts_of(plane)
    assert not (plane.state_dir / "credentials.json").exists()
    plane.close()


def test_every_part_comes_back_when_all_are_killed_at_once(plane: ControlPlane) -> None:
    secret = store_secret(plane, "outlives a crash")
    killed = plane.kill_at_once(PART_NAMES)
    plane.wait_ready()
    assert all(plane.pid(part) != pid for part, pid in killed.items())
    assert all(row["restarts"] == 1 for row in plane.parts().values())
    assert read_secret(plane, secret) == "outlives a crash"


def test_down_leaves_no_process_and_the_next_up_has_all_state_on_another_port(plane: ControlPlane) -> None:
    secret = store_secret(plane, "outlives a restart")
    plane.stop()
    assert not parts_of(plane)
    assert {row["state"] for row in plane.parts().values()} == {"stopped"}
    plane.ports["barbican"] = free_ports()["barbican"]
    plane.start()
    assert secrets_url(plane) == f"http://127.0.0.1:{plane.ports['barbican']}/v1/secrets"
    assert read_secret(plane, secret) == "outlives a restart"


def test_a_killed_supervisor_takes_its_parts_along_and_up_starts_again(plane: ControlPlane) -> None:
    supervisor = psutil.Process(plane.supervisor())
    supervisor.kill()
    plane.start()
    plane.wait_ready()
    supervisors = [each for each in psutil.process_iter(["cmdline"]) if _supervises(each, plane.state_dir)]
    assert len(supervisors) == 1
    assert len({process.environ()[processes.PART_VARIABLE] for process in parts_of(plane)}) == len(PART_NAMES)


def test_down_clears_what_a_killed_supervisor_left(plane: ControlPlane) -> None:
    psutil.Process(plane.supervisor()).kill()
    plane.stop()
    assert not parts_of(plane)


def _supervises(process: psutil.Process, state_dir: Path) -> bool:
    words = process.info["cmdline"] or []  # a zombie has none
    return "isthmus.embedded.detached" in words and str(state_dir) in words
