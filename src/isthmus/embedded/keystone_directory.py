"""Make Keystone's schema, keys, users, roles and catalogue.

Run as `python -m isthmus.embedded.keystone_directory CONF < JSON`.

One process does what `keystone-manage db_sync`, `fernet_setup`, `credential_setup`, `bootstrap` and a dozen API
calls would do, through the same code of Keystone's: that saves five starts of Keystone. Every step keeps what exists.
The JSON on standard input is `keystone._directory`'s, with the passwords that may not stand in argv.
"""

import importlib
import itertools
import json
import sys
import uuid
from typing import Any

DOMAIN = "default"


def make_directory(configuration: str, wanted: dict[str, Any]) -> None:
    """Make Keystone know all that is wanted. Raises Keystone's own errors."""
    _configure(configuration)
    importlib.import_module("keystone.common.sql.upgrades").offline_sync_database_to_version()
    _make_keys()
    _bootstrap(wanted)
    # Only now: the providers exist once the bootstrapper has loaded Keystone's back ends.
    providers = importlib.import_module("keystone.common.provider_api").ProviderAPIs
    for role in wanted["roles"]:
        _ensure_role(providers, role)
    for user in wanted["users"]:
        _ensure_user(providers, user, wanted["passwords"][user["name"]])
    for service in wanted["services"]:
        _ensure_service(providers, service, wanted["region"])


def _configure(configuration: str) -> None:
    conf = importlib.import_module("keystone.conf")
    conf.configure()
    importlib.import_module("keystone.common.sql").initialize()
    conf.set_default_for_default_log_levels()
    conf.CONF(["--config-file", configuration], project="keystone")
    conf.setup_logging()


def _make_keys() -> None:
    conf = importlib.import_module("keystone.conf").CONF
    keys = importlib.import_module("keystone.common.fernet_utils").FernetUtils
    credential_keys = importlib.import_module("keystone.credential.providers.fernet.core").MAX_ACTIVE_KEYS
    for repository, most, group in (
        (conf.fernet_tokens.key_repository, conf.fernet_tokens.max_active_keys, "fernet_tokens"),
        (conf.fernet_receipts.key_repository, conf.fernet_receipts.max_active_keys, "fernet_receipts"),
        (conf.credential.key_repository, credential_keys, "credential"),
    ):
        utility = keys(repository, most, group)
        utility.create_key_directory()
        utility.initialize_key_repository()


def _bootstrap(wanted: dict[str, Any]) -> None:
    """Make the default domain, the roles, the administrator and Keystone's own endpoints."""
    bootstrapper = importlib.import_module("keystone.cmd.bootstrap").Bootstrapper()
    bootstrapper.admin_username = bootstrapper.project_name = bootstrapper.admin_role_name = "admin"
    bootstrapper.admin_password = wanted["passwords"]["admin"]
    bootstrapper.service_name = "keystone"
    bootstrapper.public_url = bootstrapper.internal_url = bootstrapper.admin_url = wanted["identity_url"]
    bootstrapper.region_id = wanted["region"]
    bootstrapper.immutable_roles = True
    bootstrapper.bootstrap()


def _ensure_role(providers: Any, name: str) -> None:
    if name not in {role["name"] for role in providers.role_api.list_roles()}:
        made = uuid.uuid4().hex
        providers.role_api.create_role(made, {"id": made, "name": name, "options": {}})


def _ensure_user(providers: Any, user: dict[str, Any], password: str) -> None:
    """Make the user, a member of its first project by default, with the same roles in all its projects."""
    projects = [_ensure_project(providers, name) for name in user["projects"]]
    not_found = importlib.import_module("keystone.exception").UserNotFound
    try:
        made = providers.identity_api.get_user_by_name(user["name"], DOMAIN)
    except not_found:
        made = providers.identity_api.create_user(
            {"name": user["name"], "password": password, "enabled": True, "domain_id": DOMAIN,
             "default_project_id": projects[0]["id"]}
        )  # fmt: skip
    roles = [role for role in providers.role_api.list_roles() if role["name"] in user["roles"]]
    for project, role in itertools.product(projects, roles):
        _keep_existing(
            providers.assignment_api.add_role_to_user_and_project,
            user_id=made["id"],
            project_id=project["id"],
            role_id=role["id"],
        )


def _ensure_project(providers: Any, name: str) -> dict[str, Any]:
    not_found = importlib.import_module("keystone.exception").ProjectNotFound
    try:
        found: dict[str, Any] = providers.resource_api.get_project_by_name(name, DOMAIN)
    except not_found:
        made = uuid.uuid4().hex
        found = providers.resource_api.create_project(
            made, {"id": made, "name": name, "domain_id": DOMAIN, "enabled": True, "description": ""}
        )
    return found


def _ensure_service(providers: Any, service: dict[str, Any], region: str) -> None:
    """Make the service and its public and internal endpoints; point them at the present URL."""
    catalog = providers.catalog_api
    found = next((each for each in catalog.list_services() if each["type"] == service["type"]), None)
    if found is None:
        made = uuid.uuid4().hex
        found = catalog.create_service(
            made, {"id": made, "name": service["name"], "type": service["type"], "enabled": True}
        )
    have = {each["interface"]: each for each in catalog.list_endpoints() if each["service_id"] == found["id"]}
    for interface in ("public", "internal"):
        if interface in have:
            catalog.update_endpoint(have[interface]["id"], {"url": service["url"]})
            continue
        made = uuid.uuid4().hex
        catalog.create_endpoint(
            made,
            {"id": made, "interface": interface, "service_id": found["id"], "region_id": region,
             "url": service["url"], "enabled": True},
        )  # fmt: skip


def _keep_existing(make: Any, **facts: str) -> None:
    conflict = importlib.import_module("keystone.exception").Conflict
    try:
        make(**facts)
    except conflict:
        return


if __name__ == "__main__":
    make_directory(sys.argv[1], json.load(sys.stdin))
