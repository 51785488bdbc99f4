"""Keystone: identity, from PyPI, on the private MariaDB."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from isthmus.embedded import uwsgi
from isthmus.embedded.layout import write_private
from isthmus.embedded.mariadb import database_url
from isthmus.embedded.part import Part, Preparation, Site
from isthmus.embedded.readiness import http_answers

REGION = "RegionOne"


@dataclass(frozen=True)
class Directory:
    """Services, roles and users that only some control planes have."""

    services: tuple[Mapping[str, str], ...] = ()
    roles: tuple[str, ...] = ()
    users: tuple[Mapping[str, object], ...] = ()


NOTHING_ELSE = Directory()


def configure(site: Site) -> None:
    """Write keystone.conf."""
    own = site.layout.of("keystone")
    write_private(own / "keystone.conf", f"""\
[DEFAULT]
use_stderr = true
[database]
connection = {database_url(site, "keystone")}
max_pool_size = 8
[identity]
# What bcrypt can take; with more, Keystone warns at every login.
max_password_length = 72
[token]
provider = fernet
expiration = 3600
[fernet_tokens]
key_repository = {own}/fernet-keys
[fernet_receipts]
key_repository = {own}/receipt-keys
[credential]
key_repository = {own}/credential-keys
""")  # fmt: skip


def part(site: Site, wanted: Directory = NOTHING_ELSE) -> Part:
    """Return Keystone as a part, with what else it must know."""
    configuration = site.layout.of("keystone") / "keystone.conf"
    known = _directory(site, wanted)
    return Part(
        name="keystone",
        command=uwsgi.command(site.ports.keystone, 6, "--module", "keystone.wsgi.api:application"),
        environment={
            "OS_KEYSTONE_CONFIG_DIR": str(configuration.parent),
            "OS_KEYSTONE_CONFIG_FILES": str(configuration),
        },
        check=http_answers(site.ports.keystone, "/v3"),
        address=site.ports.keystone_url,
        depends_on=("mariadb",),
        preparation=Preparation(
            command=(sys.executable, "-m", "isthmus.embedded.keystone_directory", str(configuration)),
            stamp=site.layout.stamp("keystone"),
            # Passwords are left out of the stamp: they never change once made.
            stamp_text=json.dumps({"keystone": version("keystone"), **known}, indent=2),
            stdin=json.dumps(known | {"passwords": _passwords(site)}),
        ),
    )


def _directory(site: Site, wanted: Directory) -> dict[str, object]:
    """Return who and what Keystone must know; `isthmus.embedded.keystone_directory` makes it so."""
    return {
        "region": REGION,
        "identity_url": site.ports.keystone_url,
        "services": [
            {"name": "barbican", "type": "key-manager", "url": site.ports.barbican_url},
            {"name": "isthmus", "type": "migration", "url": f"{site.ports.api_url}/v1/%(project_id)s"},
            # One API under two types: the official one, and the one that older clients look for.
            {"name": "manila", "type": "shared-file-system", "url": f"{site.ports.api_url}/share/v2"},
            {"name": "manilav2", "type": "sharev2", "url": f"{site.ports.api_url}/share/v2"},
            *wanted.services,
        ],
        "roles": [*wanted.roles],
        "users": [
            {"name": "isthmus", "projects": ["service"], "roles": ["service"]},
            {"name": "barbican", "projects": ["service"], "roles": ["service"]},
            {"name": "demo", "projects": ["demo"], "roles": ["member"]},
            *wanted.users,
        ],
    }


def _passwords(site: Site) -> dict[str, str]:
    made = site.credentials
    return {
        "admin": made.admin,
        "isthmus": made.isthmus,
        "barbican": made.barbican,
        "demo": made.demo,
        "demo2": made.demo2,
        "neutron": made.neutron,
        "network-agent": made.network_agent,
    }
