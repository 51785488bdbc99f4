"""Barbican: secrets, from PyPI, on the private MariaDB, encrypted by a key of this control plane (simple crypto).

Barbican's modules each read `~/.barbican/barbican.conf` as they are imported and know no other way to be told
where it is: so its home directory is its directory here. It needs no message queue: without `[queue] enable`
it does its orders in the request.
"""

from importlib.metadata import version

from isthmus.embedded import uwsgi
from isthmus.embedded.keystone import REGION
from isthmus.embedded.layout import write_private
from isthmus.embedded.mariadb import database_url
from isthmus.embedded.part import Part, Preparation, Site, program
from isthmus.embedded.readiness import http_answers


def configure(site: Site) -> None:
    """Write barbican.conf and the pipeline that puts Keystone's middleware in front."""
    home = site.layout.of("barbican")
    (home / ".barbican").mkdir(mode=0o700, exist_ok=True)
    write_private(home / ".barbican" / "barbican.conf", _configuration(site))
    write_private(home / "api-paste.ini", _PIPELINE.format(home=home))


def part(site: Site) -> Part:
    """Return Barbican as a part."""
    home = site.layout.of("barbican")
    return Part(
        name="barbican",
        command=uwsgi.command(site.ports.barbican, 4, "--paste", f"config:{home}/api-paste.ini"),
        environment={"HOME": str(home)},
        check=http_answers(site.ports.barbican, "/"),
        address=site.ports.barbican_url,
        # Its middleware asks Keystone only when a token comes, so it starts beside Keystone.
        depends_on=("mariadb",),
        preparation=Preparation(
            command=(program("barbican-db-manage"), "upgrade"),
            environment={"HOME": str(home)},
            stamp=site.layout.stamp("barbican"),
            stamp_text=version("barbican"),
        ),
    )


def _configuration(site: Site) -> str:
    return f"""\
[DEFAULT]
use_stderr = true
host_href = {site.ports.barbican_url}
db_auto_create = false
transport_url = fake://
[database]
connection = {database_url(site, "barbican")}
max_pool_size = 8
[queue]
enable = false
[keystone_authtoken]
auth_type = password
auth_url = {site.ports.keystone_url}
www_authenticate_uri = {site.ports.keystone_url}
username = barbican
password = {site.credentials.barbican}
user_domain_name = Default
project_name = service
project_domain_name = Default
region_name = {REGION}
interface = internal
[secretstore]
namespace = barbican.secretstore.plugin
enabled_secretstore_plugins = store_crypto
[crypto]
namespace = barbican.crypto.plugin
enabled_crypto_plugins = simple_crypto
[simple_crypto_plugin]
kek = {site.credentials.barbican_key}
"""


_PIPELINE = """\
[composite:main]
use = egg:Paste#urlmap
/: versions
/v1: api

[pipeline:versions]
pipeline = request_id microversion version_app

[pipeline:api]
pipeline = request_id authtoken context microversion api_app

[app:api_app]
paste.app_factory = barbican.api.app:create_main_app

[app:version_app]
paste.app_factory = barbican.api.app:create_version_app

[filter:context]
paste.filter_factory = barbican.api.middleware.context:ContextMiddleware.factory

[filter:microversion]
paste.filter_factory = barbican.api.middleware.microversion:MicroversionMiddleware.factory

[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory

[filter:request_id]
paste.filter_factory = oslo_middleware.request_id:RequestId.factory
"""
