"""Neutron: the networks of this machine, from PyPI, with ML2/OVN on the private MariaDB.

OVN needs no agents, so there is no RabbitMQ: the transport is a fake and notifications go nowhere. Its access to OVN's
databases is by unix sockets.
"""

import json
from importlib.metadata import PackageNotFoundError, version

from isthmus.embedded import ovn, ovsdb, uwsgi
from isthmus.embedded.keystone import REGION
from isthmus.embedded.layout import write_private
from isthmus.embedded.mariadb import database_url
from isthmus.embedded.part import Part, Preparation, Site, program
from isthmus.embedded.readiness import http_answers

PART = "neutron"
BINDING_ROLE = "port_binder"
"""Keystone's role that lets a network agent bind ports to its host.

Neutron's own rules give that to `service`, a role that sees and changes every project's ports. The agent serves
tenants, so it gets no more than what its project's members may do, and this.
"""

_BINDING_RULES = (
    "create_port:binding:host_id",
    "update_port:binding:host_id",
    "get_port:binding:host_id",
    "get_port:binding:vif_type",
    "get_port:binding:vif_details",
)

# Neutron's own rule, and the last line: a port of `compute:…`, as a container's is, is else for Nova alone to delete.
_DELETE_RULE = (
    "(rule:admin_only) or (rule:service_api) or "
    "(service_roles:service and (role:member and (rule:network_owner or project_id:%(project_id)s))) or "
    "(not rule:compute_device and not rule:baremetal_device and not rule:manila_device and "
    "(role:member and (rule:network_owner or project_id:%(project_id)s))) or "
    f"(role:{BINDING_ROLE} and project_id:%(project_id)s)"
)


def configure(site: Site) -> None:
    """Write neutron.conf, its policy and its pipeline."""
    own = site.layout.of(PART)
    own.mkdir(mode=0o700, exist_ok=True)
    write_private(own / "neutron.conf", _configuration(site))
    write_private(own / "policy.yaml", _policy())
    write_private(own / "api-paste.ini", _PIPELINE)


def part(site: Site) -> Part:
    """Return Neutron as a part."""
    own = site.layout.of(PART)
    configuration = own / "neutron.conf"
    return Part(
        name=PART,
        command=uwsgi.command(site.ports.neutron, 8, "--module", "neutron.wsgi.api:application"),
        environment={"OS_NEUTRON_CONFIG_DIR": str(own), "OS_NEUTRON_CONFIG_FILES": configuration.name},
        check=http_answers(site.ports.neutron, "/"),
        address=site.ports.neutron_url,
        # Keystone is asked only when a token comes.
        depends_on=("mariadb", ovn.NORTHD, ovsdb.SOUTHBOUND),
        preparation=Preparation(
            command=(program("neutron-db-manage"), "--config-file", str(configuration), "upgrade", "heads"),
            stamp=site.layout.stamp(PART),
            stamp_text=_version(),
        ),
        start_limit=180.0,
    )


def _version() -> str:
    try:
        return version("neutron")
    except PackageNotFoundError:  # said by check_installed, before anything starts
        return "absent"


def _policy() -> str:
    """Return the rules that widen Neutron's own: JSON is YAML."""
    who = f"(rule:admin_only) or (rule:service_api) or role:{BINDING_ROLE}"
    return json.dumps(dict.fromkeys(_BINDING_RULES, who) | {"delete_port": _DELETE_RULE}, indent=2) + "\n"


def _configuration(site: Site) -> str:
    own = site.layout.of(PART)
    return f"""\
[DEFAULT]
use_stderr = true
core_plugin = ml2
service_plugins = ovn-router, trunk, qos, port_forwarding
auth_strategy = keystone
transport_url = fake://
state_path = {own}
api_paste_config = {own}/api-paste.ini
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
rpc_workers = 0
[oslo_concurrency]
lock_path = {own}
[oslo_messaging_notifications]
driver = noop
[oslo_policy]
policy_file = {own}/policy.yaml
[database]
connection = {database_url(site, "neutron")}
max_pool_size = 10
[keystone_authtoken]
auth_type = password
auth_url = {site.ports.keystone_url}
www_authenticate_uri = {site.ports.keystone_url}
username = neutron
password = {site.credentials.neutron}
user_domain_name = Default
project_name = service
project_domain_name = Default
region_name = {REGION}
interface = internal
# By which Keystone's access rules know this API.
service_type = network
[ml2]
mechanism_drivers = ovn
type_drivers = local, flat, vlan, geneve
project_network_types = geneve
extension_drivers = port_security, qos, dns, tag_ports_during_bulk_creation
[ml2_type_geneve]
vni_ranges = 1:65535
max_header_size = 38
[ml2_type_vlan]
network_vlan_ranges = external:1:4094
[securitygroup]
enable_security_group = true
[ovn]
ovn_nb_connection = {ovsdb.connection(site, ovsdb.NORTHBOUND)}
ovn_sb_connection = {ovsdb.connection(site, ovsdb.SOUTHBOUND)}
ovn_metadata_enabled = false
"""


_PIPELINE = """\
[composite:neutron]
use = egg:Paste#urlmap
/: versions
/v2.0: api

[pipeline:versions]
pipeline = neutronversions

[pipeline:api]
pipeline = request_id catch_errors authtoken keystonecontext extensions neutronapi

[filter:request_id]
paste.filter_factory = oslo_middleware:RequestId.factory

[filter:catch_errors]
paste.filter_factory = oslo_middleware:CatchErrors.factory

[filter:keystonecontext]
paste.filter_factory = neutron.auth:NeutronKeystoneContext.factory

[filter:authtoken]
paste.filter_factory = keystonemiddleware.auth_token:filter_factory

[filter:extensions]
paste.filter_factory = neutron.api.extensions:plugin_aware_extension_middleware_factory

[app:neutronversions]
paste.app_factory = neutron.pecan_wsgi.app:versions_factory

[app:neutronapi]
paste.app_factory = neutron.api.v2.router:APIRouter.factory
"""
