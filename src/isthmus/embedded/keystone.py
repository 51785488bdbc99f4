"""Keystone: identity, from PyPI, on the private MariaDB."""

import json
import sys
from importlib.metadata import version

from isthmus.embedded import uwsgi
from isthmus.embedded.layout import write_private
from isthmus.embedded.mariadb import database_url
from isthmus.embedded.part import Part, Preparation, Site
from isthmus.embedded.readiness import http_answers

REGION = "RegionOne"


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


def part(site: Site) -> Part:
    """Return Keystone as a part."""
    configuration = site.layout.of("keystone") / "keystone.conf"
    wanted = _directory(site)
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
            stamp_text=json.dumps({"keystone": version("keystone"), **wanted}, indent=2),
            stdin=json.dumps(wanted | {"passwords": _passwords(site)}),
        ),
    )


def _directory(site: Site) -> dict[str, object]:
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
        ],
        "users": [
            {"name": "isthmus", "project": "service", "roles": ["service"]},
            {"name": "barbican", "project": "service", "roles": ["service"]},
            {"name": "demo", "project": "demo", "roles": ["member"]},
        ],
    }


def _passwords(site: Site) -> dict[str, str]:
    made = site.credentials
    return {"admin": made.admin, "isthmus": made.isthmus, "barbican": made.barbican, "demo": made.demo}
