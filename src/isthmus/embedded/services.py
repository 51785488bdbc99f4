"""Isthmus's own services: api, conductor and worker, each told all by `isthmus.conf`."""

import hashlib
from pathlib import Path

import isthmus.control
from isthmus.control.readiness import READY_FILE
from isthmus.embedded import network, network_agent, shares
from isthmus.embedded.keystone import REGION
from isthmus.embedded.layout import write_private
from isthmus.embedded.mariadb import database_url, own_driver
from isthmus.embedded.part import Part, Preparation, Site, program
from isthmus.embedded.ports import LOOPBACK
from isthmus.embedded.readiness import file_exists, http_answers

"""Names the file that the conductor and the worker touch once Temporal sees them poll their task queues."""


def configure(site: Site) -> None:
    """Write isthmus.conf."""
    (site.layout.of("isthmus") / "staging").mkdir(mode=0o700, exist_ok=True)
    write_private(site.layout.configuration, _configuration(site))


def parts(site: Site) -> tuple[Part, ...]:
    """Return the api, the conductor and the worker as parts."""
    api = Part(
        name="api",
        command=_command(site, "api"),
        # Both mean that it listens and its pipeline works: the version document, or Keystone's middleware refusing.
        check=http_answers(site.ports.api, "/healthcheck"),
        address=site.ports.api_url,
        # Keystone is asked only when a token comes, so both start at once.
        depends_on=("mariadb",),
        preparation=Preparation(
            command=_command(site, "db", "upgrade"),
            stamp=site.layout.stamp("isthmus"),
            stamp_text=_schema_digest(),
        ),
    )
    # The conductor writes to the tables that the API's preparation makes.
    return (
        api,
        _polling(site, "conductor", ("temporal", "api")),
        _polling(site, "worker", ("temporal",)),
    )


def _polling(site: Site, name: str, depends_on: tuple[str, ...]) -> Part:
    ready = site.layout.ready_file(name)
    return Part(
        name=name,
        command=_command(site, name),
        environment={READY_FILE: str(ready)},
        check=file_exists(ready),
        ready_file=ready,
        address=f"polls {LOOPBACK}:{site.ports.temporal}",
        depends_on=depends_on,
    )


def _command(site: Site, *words: str) -> tuple[str, ...]:
    return (program("isthmus"), *words, *shares.configuration_files(site.layout))


def _schema_digest() -> str:
    """Return a digest of the schema's revisions: the upgrade runs again when one is added."""
    revisions = sorted((Path(isthmus.control.__file__).parent / "migrations").rglob("*.py"))
    return hashlib.sha256(b"".join(revision.read_bytes() for revision in revisions)).hexdigest()


def _configuration(site: Site) -> str:
    password = f"""\
auth_type = password
auth_url = {site.ports.keystone_url}
username = isthmus
password = {site.credentials.isthmus}
user_domain_name = Default
project_name = service
project_domain_name = Default
region_name = {REGION}
interface = internal
"""
    beside = (
        f"network_agent = {network_agent.socket_file(site.layout)}\n" if network.CHOICE.is_chosen(site.layout) else ""
    )
    return f"""\
[DEFAULT]
state_dir = {site.layout.of("isthmus")}
[api]
host = {LOOPBACK}
port = {site.ports.api}
auth_strategy = keystone
[database]
connection = {database_url(site, "isthmus", own_driver())}
[temporal]
address = {LOOPBACK}:{site.ports.temporal}
namespace = default
[keystone_authtoken]
www_authenticate_uri = {site.ports.keystone_url}
{password}
[service_credentials]
{password}
[worker]
queues = default
staging_dir = {site.layout.of("isthmus") / "staging"}
# The machine is its owner's, and so are the hypervisors and the images on it.
allow_local_hypervisors = true
image_directories = /
{beside}"""
