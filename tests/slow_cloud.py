"""A Keystone, a Barbican and a Neutron over HTTP that are as slow, or as silent, as a test wants: real ones never are.

They answer as the real ones do to what the agent asks of them; what it makes in this Neutron is kept, and can be read.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from oslo_config.cfg import ConfigOpts

from isthmus.control.configuration import load

PROJECT = "0" * 31 + "1"
NETWORK = {"id": "net", "name": "blue", "project_id": PROJECT, "mtu": 1400}
SUBNET = {"id": "sub", "name": "", "project_id": PROJECT, "network_id": "net", "cidr": "10.1.0.0/24"}


class SlowCloud(ThreadingHTTPServer):
    """The server. `delays` are seconds before an answer, by a part of the path."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.delays: dict[str, float] = {}
        self.objects: dict[str, list[dict[str, Any]]] = {
            "networks": [NETWORK],
            "subnets": [{**SUBNET, "gateway_ip": "10.1.0.1"}],
            "ports": [],
            "security-groups": [{"id": "group", "name": "default", "project_id": PROJECT}],
        }
        self.asked: list[str] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def reference(self, number: int) -> str:
        """Return the reference of a secret with a credential."""
        return f"{self.url}/vault/v1/secrets/{secret_id(number)}"

    def configuration(self, directory: Path, *projects: str, **options: object) -> ConfigOpts:
        """Return an agent's configuration for this cloud, with a secret for each project."""
        file = directory / "agent.conf"
        credentials = ",".join(f"{name}={self.reference(number)}" for number, name in enumerate(projects))
        lines = [f"{name} = {value}" for name, value in options.items()]
        file.write_text(
            f"[DEFAULT]\nstate_dir = {directory}\n[service_credentials]\nauth_type = password\n"
            f"auth_url = {self.url}/identity/v3\nusername = u\npassword = p\nproject_name = s\n"
            "user_domain_name = Default\nproject_domain_name = Default\ninterface = public\nregion_name = one\n"
            f"[network_agent]\ncredentials = {credentials}\nhost = here\n" + "\n".join(lines)
        )
        return load(["--config-file", str(file)])


def secret_id(number: int) -> str:
    """Return the id of a secret."""
    return f"00000000-0000-0000-0000-{number:012}"


class _Answer(BaseHTTPRequestHandler):
    server: SlowCloud
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        self.server.asked.append(f"{self.command} {url.path}")
        delay = sum(seconds for part, seconds in self.server.delays.items() if part in url.path)
        self.server.over.wait(delay)
        status, answer = self._found(url.path, parse_qs(url.query), body)
        data = b"" if answer is None else answer.encode()
        self.send_response(status)
        self.send_header("X-Subject-Token", "token")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's names

    def _found(self, path: str, query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, str | None]:
        base = self.server.url
        if path == "/identity/v3/auth/tokens":
            return 201, json.dumps({"token": _token(base)})
        if path.startswith("/identity"):
            links = [{"rel": "self", "href": f"{base}/identity/v3/"}]
            return 200, json.dumps({"version": {"id": "v3.14", "status": "stable", "links": links}})
        if path.startswith("/vault"):
            return 200, json.dumps({"application_credential_id": "a", "application_credential_secret": "b"})
        words = path.removeprefix("/v2.0/").split("/")
        return self._neutron(words, query, body)

    def _neutron(self, words: list[str], query: dict[str, list[str]], body: dict[str, Any]) -> tuple[int, str | None]:
        kind, objects = words[0], self.server.objects.setdefault(words[0], [])
        one = kind.replace("-", "_").removesuffix("s")
        if self.command == "POST":
            made = [{"id": str(uuid.uuid4()), "project_id": PROJECT, **each} for each in body.get(kind) or [body[one]]]
            objects += [_port(each) for each in made] if kind == "ports" else made
            last = objects[-len(made) :]
            return 201, json.dumps({kind: last} if kind in body else {one: last[0]})
        if self.command == "GET" and len(words) == 1:
            found = [each for each in objects if _matches(each, query)]
            return 200, json.dumps({kind.replace("-", "_"): found})
        wanted = next((each for each in objects if each["id"] == words[1]), None)
        if wanted is None:
            return 404, json.dumps({"NeutronError": {"type": "NotFound", "message": f"no {words[1]}"}})
        if self.command == "DELETE":
            objects.remove(wanted)
            return 204, None
        if self.command == "PUT" and len(words) == 2:
            wanted.update(body[one])
        elif self.command == "PUT":
            wanted.update(body)
            return 200, json.dumps(body)
        return 200, json.dumps({one: wanted})

    def log_message(self, *_: Any) -> None:
        return


def _matches(found: dict[str, Any], query: dict[str, list[str]]) -> bool:
    for key, wanted in query.items():
        if key == "tags":
            if not set(wanted[0].split(",")) <= set(found.get("tags", ())):
                return False
        elif key != "fields" and key in found and str(found[key]) not in wanted:
            return False
    return True


def _port(body: dict[str, Any]) -> dict[str, Any]:
    defaults = {
        "mac_address": f"fa:16:3e:00:00:{uuid.uuid4().hex[:2]}",
        "status": "DOWN",
        "security_groups": ["group"],
        "port_security_enabled": True,
        "allowed_address_pairs": [],
    }
    wanted = body.get("fixed_ips") or [{"subnet_id": "sub"}]
    return {**defaults, **body, "fixed_ips": [{"ip_address": "10.1.0.5", **each} for each in wanted]}


def _token(base: str) -> dict[str, Any]:
    def service(kind: str, url: str) -> dict[str, Any]:
        endpoint = {"id": kind, "interface": "public", "region": "one", "region_id": "one", "url": url}
        return {"type": kind, "name": kind, "id": kind, "endpoints": [endpoint]}

    stamp = "%Y-%m-%dT%H:%M:%S.000000Z"
    return {
        "methods": ["password"],
        "user": {"id": "u", "name": "u", "domain": {"id": "default", "name": "Default"}},
        "project": {"id": PROJECT, "name": "p", "domain": {"id": "default", "name": "Default"}},
        "issued_at": time.strftime(stamp, time.gmtime()),
        "expires_at": time.strftime(stamp, time.gmtime(time.time() + 3600)),
        "roles": [{"id": "r", "name": "member"}],
        "catalog": [service("key-manager", f"{base}/vault"), service("network", base)],
    }


@contextmanager
def slow_cloud() -> Iterator[SlowCloud]:
    """Give a cloud that answers at once until told otherwise."""
    with SlowCloud() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
