"""From OS_* variables, clouds.yaml and global options to an HTTP client of Isthmus' API."""

import argparse
import os
from collections.abc import Mapping
from typing import Any

from isthmus.control.errors import InvalidInput, NotAuthenticated, Unavailable

SERVICE_TYPE = "migration"
SHARES_SERVICE_TYPE = "shared-file-system"
SHARES_VERSION = {"X-OpenStack-Manila-API-Version": "2.90"}
"""The microversion that the commands about shares speak."""

_CLOUD_ARGUMENTS = {
    "os_cloud": "cloud",
    "os_auth_url": "auth_url",
    "os_username": "username",
    "os_user_domain_name": "user_domain_name",
    "os_project_name": "project_name",
    "os_project_id": "project_id",
    "os_project_domain_name": "project_domain_name",
    "os_region_name": "region_name",
    "os_interface": "interface",
    "os_cacert": "cacert",
}


def connect(options: argparse.Namespace) -> Any:
    """Return a keystoneauth adapter whose relative URLs begin below `/v1/{project}`.

    Nothing is sent yet. Raises InvalidInput if the options do not say which Isthmus or who asks.
    """
    endpoint = options.os_endpoint or os.environ.get("ISTHMUS_ENDPOINT")
    if options.no_auth:
        return _without_token(endpoint, options.os_project_id or os.environ.get("OS_PROJECT_ID"), options.insecure)
    return _with_token(options, endpoint)


def connect_shares(options: argparse.Namespace) -> Any:
    """Return a keystoneauth adapter whose relative URLs begin below the shares API's `/v2`. As `connect` otherwise."""
    endpoint = options.os_endpoint or os.environ.get("ISTHMUS_ENDPOINT")
    override = f"{endpoint.rstrip('/').removesuffix('/v1')}/share/v2" if endpoint else None
    if options.no_auth:
        project_id = options.os_project_id or os.environ.get("OS_PROJECT_ID")
        return _anonymous(override, project_id, options.insecure, SHARES_VERSION)
    cloud, session = _cloud(options)
    return _adapter(cloud, session, SHARES_SERVICE_TYPE, override, SHARES_VERSION)


def _without_token(endpoint: str | None, project_id: str | None, insecure: bool | None) -> Any:
    return _anonymous(_versioned(endpoint) if endpoint else None, project_id, insecure, {})


def _anonymous(url: str | None, project_id: str | None, insecure: bool | None, more_headers: Mapping[str, str]) -> Any:
    from keystoneauth1 import adapter, noauth, session  # noqa: PLC0415 - help must not wait for it

    if not url:
        raise InvalidInput("--no-auth needs the API's address: give --os-endpoint URL")
    headers = {"X-Project-Id": project_id} if project_id else {}
    return adapter.Adapter(
        session.Session(auth=noauth.NoAuth(), verify=not insecure),
        endpoint_override=url,
        additional_headers={**headers, **more_headers},
    )


def _with_token(options: argparse.Namespace, endpoint: str | None) -> Any:
    cloud, session = _cloud(options)
    project_id = _project_id(session) if endpoint else None
    override = f"{_versioned(endpoint)}/{project_id}" if endpoint else None
    return _adapter(cloud, session, SERVICE_TYPE, override, {})


def _cloud(options: argparse.Namespace) -> tuple[Any, Any]:
    """Return who asks, as openstacksdk knows it, and a session of theirs."""
    from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - help must not wait for it
    from openstack import config, exceptions  # noqa: PLC0415

    arguments = {name: getattr(options, option) for option, name in _CLOUD_ARGUMENTS.items()}
    given = {name: value for name, value in arguments.items() if value}
    if options.insecure:
        given["verify"] = False
    try:
        cloud = config.OpenStackConfig(app_name="isthmus").get_one(**given)
        session = cloud.get_session()
    except (exceptions.SDKException, ClientException) as error:
        raise InvalidInput(
            f"nobody is named who could ask: {error}; load OS_* variables "
            '(eval "$(isthmus env)" for the control plane on this machine) or choose a cloud with --os-cloud'
        ) from error
    return cloud, session


def _adapter(cloud: Any, session: Any, service_type: str, override: str | None, more_headers: Mapping[str, str]) -> Any:
    from keystoneauth1 import adapter  # noqa: PLC0415 - help must not wait for it

    return adapter.Adapter(
        session,
        service_type=service_type,
        interface=cloud.get_interface(service_type),
        region_name=cloud.get_region_name(service_type),
        endpoint_override=override,
        additional_headers=dict(more_headers),
    )


def _project_id(session: Any) -> str:
    """Return the token's project; it is a part of every URL."""
    from keystoneauth1 import exceptions  # noqa: PLC0415 - help must not wait for it

    try:
        project_id: str | None = session.get_project_id()
    except exceptions.Unauthorized as error:
        raise NotAuthenticated("Keystone refused the user's name or password: check the OS_* variables") from error
    except exceptions.ClientException as error:
        raise Unavailable(f"Keystone gave no token: {error}; see that it runs (`isthmus status`)") from error
    if not project_id:
        raise InvalidInput("the token belongs to no project: set OS_PROJECT_NAME and OS_PROJECT_DOMAIN_NAME")
    return project_id


def _versioned(endpoint: str) -> str:
    stripped = endpoint.rstrip("/")
    return stripped if stripped.endswith("/v1") else f"{stripped}/v1"
