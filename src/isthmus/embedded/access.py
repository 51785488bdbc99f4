"""How a person or a program speaks to this control plane: OS_* variables and clouds.yaml."""

import json

import yaml

from isthmus.control.errors import NotFound
from isthmus.embedded import network
from isthmus.embedded.credentials import Credentials
from isthmus.embedded.keystone import REGION
from isthmus.embedded.layout import Layout, write_private
from isthmus.embedded.part import Site
from isthmus.embedded.ports import Ports

_CLOUD_OF_USER = {"admin": "isthmus-admin", "demo": "isthmus"}
_WITH_NETWORKS = {"demo2": "isthmus-demo2"}
"""A second tenant, to be apart from the first."""


def cloud_of_user(layout: Layout) -> dict[str, str]:
    """Return the users a person may be, with their entries in clouds.yaml; each is in the project of its name."""
    return {**_CLOUD_OF_USER, **(_WITH_NETWORKS if network.CHOICE.is_chosen(layout) else {})}


def environment(layout: Layout, user: str) -> dict[str, str]:
    """Return the OS_* variables of one user.

    OS_CLIENT_CONFIG_FILE is among them, so that `--os-cloud isthmus-admin` works in the same shell without touching
    ~/.config/openstack. Raises NotFound for another user, or before the first `isthmus up`.
    """
    known = cloud_of_user(layout)
    if user not in known:
        raise NotFound(f"there is no user '{user}' to print variables for: choose one of {', '.join(known)}")
    if not layout.credentials.exists() or not layout.ports.exists():
        raise NotFound(f"no control plane has been started in {layout.state_dir}: run `isthmus up` first")
    passwords = Credentials(**json.loads(layout.credentials.read_text()))
    ports = Ports(**json.loads(layout.ports.read_text()))
    return {
        "OS_AUTH_TYPE": "password",
        "OS_AUTH_URL": ports.keystone_url,
        "OS_USERNAME": user,
        "OS_PASSWORD": getattr(passwords, user),
        "OS_PROJECT_NAME": user,
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_REGION_NAME": REGION,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_CLIENT_CONFIG_FILE": str(layout.clouds),
    }


def write_clouds(site: Site) -> None:
    """Write clouds.yaml with an entry for each user."""
    entries = {
        cloud: {
            "auth": {
                "auth_url": site.ports.keystone_url,
                "username": user,
                "password": getattr(site.credentials, user),
                "project_name": user,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": REGION,
            "identity_api_version": "3",
        }
        for user, cloud in cloud_of_user(site.layout).items()
    }
    write_private(site.layout.clouds, yaml.safe_dump({"clouds": entries}, sort_keys=False))
