"""Make the network agent's credentials: `python -m isthmus.embedded.network_credentials --config-file CONF < JSON`.

For each project an application credential, limited to Neutron's API, is made in the name of the agent's user and
stored in Barbican; only the account of `[service_credentials]` is let read it. Last, the agent's options are written
with the references. What an earlier run made, whole or half, is replaced. The JSON on standard input is
`network_agent.part`'s, with the password that may not stand in argv.
"""

import json
import sys
from pathlib import Path
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.identity import v3
from keystoneauth1.session import Session
from oslo_config.cfg import ConfigOpts

from isthmus.control import secrets
from isthmus.control.configuration import SERVICE_CREDENTIALS, load
from isthmus.control.identity import catalog_url, service_session
from isthmus.embedded.layout import write_private

_NEUTRON_ONLY = [
    {"service": "network", "method": method, "path": "/v2.0/**"} for method in ("GET", "POST", "PUT", "DELETE")
]
_SECONDS = 60


def make_credentials(conf: ConfigOpts, wanted: dict[str, Any]) -> None:
    """Make all that is wanted and write the agent's options. Raises keystoneauth's errors."""
    reader = service_session(conf).get_user_id()
    references = {project: _make_credential(conf, wanted, project, reader) for project in wanted["projects"]}
    options = {
        "credentials": ", ".join(f"{project}={reference}" for project, reference in references.items()),
        **wanted["options"],
    }
    lines = "".join(f"{name} = {value}\n" for name, value in options.items())
    write_private(Path(wanted["file"]), f"[network_agent]\n{lines}")


def _make_credential(conf: ConfigOpts, wanted: dict[str, Any], project: str, reader: str) -> str:
    session = _log_in(conf, wanted, project)
    name = f"isthmus-network-agent-{project}"
    credentials = f"{wanted['keystone']}/users/{session.get_user_id()}/application_credentials"
    for old in session.get(credentials, params={"name": name}).json()["application_credentials"]:
        session.delete(f"{credentials}/{old['id']}")
    body = {
        "name": name,
        "roles": [{"name": role} for role in wanted["roles"]],
        "access_rules": _NEUTRON_ONLY,
        "unrestricted": False,
    }
    made = session.post(credentials, json={"application_credential": body}, log=False).json()["application_credential"]
    payload = {"application_credential_id": made["id"], "application_credential_secret": made["secret"]}
    _forget_secrets(session, name)
    reference = secrets.store(session, name, payload)
    session.put(f"{reference}/acl", json={"read": {"users": [reader], "project-access": False}})
    return reference


def _forget_secrets(session: Adapter, name: str) -> None:
    url = f"{catalog_url(session, 'key-manager')}/v1/secrets"
    for old in session.get(url, params={"name": name}).json()["secrets"]:
        secrets.delete(session, old["secret_ref"])


def _log_in(conf: ConfigOpts, wanted: dict[str, Any], project: str) -> Adapter:
    service = conf[SERVICE_CREDENTIALS]
    plugin = v3.Password(
        wanted["keystone"],
        username=wanted["user"],
        password=wanted["password"],
        user_domain_name="Default",
        project_name=project,
        project_domain_name="Default",
    )
    return Adapter(Session(plugin, timeout=_SECONDS), interface=service.interface, region_name=service.region_name)


if __name__ == "__main__":
    make_credentials(load(sys.argv[1:]), json.load(sys.stdin))
