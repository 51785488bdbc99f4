"""manila.conf: two dummy back ends, as Isthmus has them, and Manila's own defaults for all the rest."""

from dataclasses import dataclass
from pathlib import Path

from conformance.back_ends import DRIVER, QUOTAS
from conformance.cloud import SHARE_TYPE, Cloud
from conformance.tempest_conf import BACK_ENDS

DATABASE = "manila"


@dataclass(frozen=True)
class Addresses:
    """Where Manila finds what it stands on, and where it listens."""

    api_port: int
    amqp_port: int
    database_socket: Path

    @property
    def database_url(self) -> str:
        """Its database, as the operating system's root, who needs no password on this socket."""
        return f"mysql+pymysql://root@localhost/{DATABASE}?unix_socket={self.database_socket}&charset=utf8mb4"


def manila_conf(directory: Path, addresses: Addresses, cloud: Cloud, api_paste: Path, delay: float) -> str:
    """Return the text; state goes below `directory`. A driver's call takes `delay` seconds."""
    quotas = "".join(f"{resource} = {limit}\n" for resource, limit in QUOTAS.items())
    names = [name.lower() for name in BACK_ENDS]
    return f"""\
[DEFAULT]
transport_url = rabbit://guest:guest@127.0.0.1:{addresses.amqp_port}//
auth_strategy = keystone
api_paste_config = {api_paste}
state_path = {directory}
default_share_type = {SHARE_TYPE}
enabled_share_protocols = NFS,CIFS
enabled_share_backends = {",".join(names)}
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {addresses.api_port}
host = peer
[quota]
{quotas}
[database]
connection = {addresses.database_url}
[keystone_authtoken]
www_authenticate_uri = {cloud.auth_url}
auth_url = {cloud.auth_url}
auth_type = password
username = {cloud.username}
password = {cloud.password}
project_name = {cloud.project}
user_domain_name = Default
project_domain_name = Default
region_name = {cloud.region}
[oslo_concurrency]
lock_path = {directory}/lock
[coordination]
backend_url = file://{directory}/coordination
[oslo_policy]
enforce_scope = false
""" + "".join(_section(name, delay) for name in names)


def _section(name: str, delay: float) -> str:
    slow = ("ensure_share", "create_share", "get_pool", "do_setup", "_get_pools_info", "_update_share_stats")
    return f"""\
[{name}]
share_driver = {DRIVER}
share_backend_name = {name.upper()}
driver_handles_share_servers = False
dummy_driver_default_driver_method_delay = {delay}
dummy_driver_driver_methods_delays = {",".join(f"{method}:{delay}" for method in slow)}
"""
