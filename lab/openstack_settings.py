"""Names, ports and the configuration files of the lab's OpenStack cloud.

All of it is the same for each cloud, as each has namespaces of its own: the state directory is bound to one place, the
ports are fixed. Only the address in Keystone's catalogue differs: by it a cloud is reached from outside.
"""

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

STATE = Path("/run/openstack-lab")
"""Where a cloud's directory is, seen from inside."""
HOST = "lab"
"""One name for nova-compute, cinder-volume and OVN's chassis: binding a port compares them."""
REGION, PASSWORD = "RegionOne", "lab-secret"
PORTS: Mapping[str, int] = {
    "keystone": 35000,
    "glance": 35292,
    "placement": 35778,
    "nova": 35774,
    "cinder": 35776,
    "neutron": 35696,
}
RABBIT_PORT, EPMD_PORT = 35672, 35369
RABBIT = f"rabbit://guest:guest@127.0.0.1:{RABBIT_PORT}/"
KEYSTONE = f"http://127.0.0.1:{PORTS['keystone']}/v3"
SHARE = "127.0.0.1:/lab"
"""What Cinder takes for an NFS export: `mount` of the cloud makes a bind mount of the directory `share` of it."""
VOLUME_TYPE = "files"
DATABASES = ("keystone", "glance", "placement", "neutron", "cinder", "nova_api", "nova", "nova_cell0", "lab")
SERVICE_TYPES: Mapping[str, str] = {
    "glance": "image",
    "placement": "placement",
    "neutron": "network",
    "cinder": "block-storage",
    "nova": "compute",
}
_PATHS = {"cinder": "/v3", "nova": "/v2.1"}


def cache_directory() -> Path:
    """Return where the services are installed and the seed is kept, as scripts/setup-openstack-lab has it."""
    lock = Path(__file__).parents[1] / "packaging" / "openstack-lab.lock"
    cache = Path(os.environ.get("ISTHMUS_CACHE") or "/var/lib/isthmus/cache")
    return cache / "openstack-lab" / sha256(lock.read_bytes()).hexdigest()[:16]


def venv() -> Path:
    """Return the services' virtual environment. Raises `RuntimeError` if it is not installed."""
    found = cache_directory() / "venv"
    if not (found / "complete").exists():
        raise RuntimeError("the lab's OpenStack is not installed: run scripts/setup-openstack-lab")
    return found


def url(service: str, address: str = "127.0.0.1") -> str:
    """Return the address of a service's API, as the catalogue has it."""
    return f"http://{address}:{PORTS[service]}{_PATHS.get(service, '')}"


def database(name: str) -> str:
    """Return SQLAlchemy's address of a database."""
    return f"mysql+pymysql://lab:{PASSWORD}@localhost/{name}?unix_socket={STATE}/run/mariadb.sock&charset=utf8mb4"


def directory() -> dict[str, object]:
    """Return what Keystone must know, for `isthmus.embedded.keystone_directory`."""
    services = [{"name": name, "type": kind, "url": url(name)} for name, kind in SERVICE_TYPES.items()]
    users: list[dict[str, object]] = [
        {"name": name, "projects": ["service"], "roles": ["admin", "service"]} for name in SERVICE_TYPES
    ]
    tenants: list[dict[str, object]] = [
        {"name": name, "projects": [name], "roles": ["member"]} for name in ("tenant", "neighbour")
    ]
    names = [user["name"] for user in (*users, *tenants)]
    return {
        "region": REGION,
        "identity_url": KEYSTONE,
        "services": services,
        "roles": [],
        "users": [*users, *tenants],
        "passwords": {"admin": PASSWORD, **{str(name): PASSWORD for name in names}},
    }


def _credentials(section: str, user: str) -> str:
    return f"""
[{section}]
auth_url = {KEYSTONE}
www_authenticate_uri = {KEYSTONE}
auth_type = password
username = {user}
password = {PASSWORD}
project_name = service
user_domain_id = default
project_domain_id = default
region_name = {REGION}
valid_interfaces = public
"""


def _common(name: str) -> str:
    return f"""{_credentials("keystone_authtoken", name)}
service_token_roles_required = true
service_token_roles = service
[oslo_concurrency]
lock_path = {STATE}/{name}/lock
[oslo_messaging_notifications]
driver = noop
[oslo_messaging_rabbit]
heartbeat_timeout_threshold = 0
"""


def configuration() -> Mapping[str, str]:
    """Return the text of every configuration file, by its path in the state directory."""
    etc = venv() / "etc"
    return {
        "keystone/keystone.conf": _keystone(),
        "glance/glance-api.conf": _glance(etc),
        "placement/placement.conf": _placement(),
        "neutron/neutron.conf": _neutron(etc),
        "cinder/shares": f"{SHARE}\n",
        "cinder/cinder.conf": _cinder(etc),
        "nova/nova.conf": _nova(etc),
        "libvirt/etc/qemu.conf": _QEMU,
        "libvirt/etc/libvirtd.conf": _LIBVIRTD,
        "libvirt/etc/virtlogd.conf": 'log_outputs = "3:stderr"\n',
    }


_QEMU = """user = "root"
group = "root"
security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
"""
_LIBVIRTD = """unix_sock_group = "root"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "3:stderr"
"""


def _keystone() -> str:
    own = STATE / "keystone"
    return f"""[DEFAULT]
use_stderr = true
[database]
connection = {database("keystone")}
[token]
provider = fernet
[fernet_tokens]
key_repository = {own}/fernet
[fernet_receipts]
key_repository = {own}/receipts
[credential]
key_repository = {own}/credential
"""


def _glance(etc: Path) -> str:
    own = STATE / "glance"
    return f"""[DEFAULT]
enabled_backends = files:file
enabled_import_methods = [glance-direct,web-download]
transport_url = fake://
[database]
connection = {database("glance")}
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {own}/images
[os_glance_staging_store]
filesystem_store_datadir = {own}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {own}/tasks
[paste_deploy]
flavor = keystone
config_file = {etc}/glance/glance-api-paste.ini
{_common("glance")}"""


def _placement() -> str:
    return f"""[api]
auth_strategy = keystone
[placement_database]
connection = {database("placement")}
{_common("placement")}"""


def _neutron(etc: Path) -> str:
    return f"""[DEFAULT]
core_plugin = ml2
service_plugins = ovn-router,trunk,segments
auth_strategy = keystone
transport_url = fake://
state_path = {STATE}/neutron
api_paste_config = {etc}/neutron/api-paste.ini
notify_nova_on_port_status_changes = true
notify_nova_on_port_data_changes = true
[database]
connection = {database("neutron")}
[ml2]
mechanism_drivers = ovn
type_drivers = local,flat,geneve
project_network_types = geneve
extension_drivers = port_security
overlay_ip_version = 4
[ml2_type_geneve]
vni_ranges = 1:65535
max_header_size = 38
[securitygroup]
enable_security_group = true
[ovn]
ovn_nb_connection = unix:{STATE}/run/ovs/ovn-nb.sock
ovn_sb_connection = unix:{STATE}/run/ovs/ovn-sb.sock
ovn_metadata_enabled = false
{_common("neutron")}{_credentials("nova", "nova")}"""


def _cinder(etc: Path) -> str:
    own = STATE / "cinder"
    return f"""[DEFAULT]
transport_url = {RABBIT}
host = {HOST}
my_ip = 127.0.0.1
graceful_shutdown_timeout = 5
state_path = {own}
image_conversion_dir = {own}/conversion
api_paste_config = {etc}/cinder/api-paste.ini
resource_query_filters_file = {etc}/cinder/resource_filters.json
rootwrap_config = {etc}/cinder/rootwrap.conf
auth_strategy = keystone
enabled_backends = files
default_volume_type = {VOLUME_TYPE}
glance_api_servers = {url("glance")}
osapi_volume_workers = 1
[files]
volume_driver = cinder.volume.drivers.nfs.NfsDriver
volume_backend_name = files
nfs_shares_config = {own}/shares
nfs_mount_point_base = {STATE}/mnt
nfs_snapshot_support = true
# Snapshots want it so.
nas_secure_file_operations = false
nas_secure_file_permissions = true
[database]
connection = {database("cinder")}
[coordination]
backend_url = file://{own}
{_common("cinder")}{_credentials("nova", "nova")}{_credentials("service_user", "cinder")}
send_service_user_token = true
"""


def _nova(etc: Path) -> str:
    own = STATE / "nova"
    others = "".join(_credentials(name, name) for name in ("placement", "neutron", "cinder"))
    return f"""[DEFAULT]
transport_url = {RABBIT}
host = {HOST}
my_ip = 127.0.0.1
graceful_shutdown_timeout = 5
state_path = {own}
instances_path = {own}/instances
compute_driver = libvirt.LibvirtDriver
rootwrap_config = {etc}/nova/rootwrap.conf
shutdown_timeout = 15
vif_plugging_timeout = 60
vif_plugging_is_fatal = true
ram_allocation_ratio = 1.0
cpu_allocation_ratio = 16
[wsgi]
api_paste_config = {etc}/nova/api-paste.ini
[api_database]
connection = {database("nova_api")}
[database]
connection = {database("nova")}
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 20
[libvirt]
virt_type = qemu
cpu_mode = none
nfs_mount_point_base = {STATE}/mnt
num_pcie_ports = 12
use_virtio_for_bridges = true
[glance]
api_servers = {url("glance")}
[os_vif_ovs]
ovsdb_connection = unix:{STATE}/run/ovs/ovsdb.sock
[vnc]
enabled = false
{_common("nova")}{others}
catalog_info = block-storage:cinder:publicURL
os_region_name = {REGION}
{_credentials("service_user", "nova")}
send_service_user_token = true
"""
