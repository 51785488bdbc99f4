"""kuryr-libnetwork itself on the playground's host, unchanged from PyPI: the peer of tests and benchmarks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance import virtual_env

from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground

LOCK = Path("packaging/kuryr-peer.lock")
URL = "http://127.0.0.1:23750"
PROJECT = "demo"
_START_SECONDS = 120


def install() -> Path:
    """Return the Python of Kuryr's virtual environment, made now if there is none."""
    cache = Path(os.environ.get("ISTHMUS_CACHE", "build"))
    return virtual_env.ensure(cache.resolve() / "kuryr-peer", LOCK)


@contextmanager
def kuryr(playground: NetworkPlayground) -> Iterator[int]:
    """Run Kuryr as Docker's driver `kuryr` on the playground's host and Neutron; give its process id."""
    python = install()
    directory = playground.directory / "kuryr"
    directory.mkdir(exist_ok=True)
    login = playground.plane.environment("admin")
    # In the agent's first project, whose networks the agent can then adopt; Kuryr binds ports as an administrator.
    identity = playground.cloud("admin").identity
    user, role = identity.find_user(login["OS_USERNAME"]), identity.find_role("admin")
    identity.assign_project_role_to_user(identity.find_project(PROJECT), user, role)
    configuration = directory / "kuryr.conf"
    configuration.touch(0o600)
    configuration.write_text(f"""\
[DEFAULT]
bindir = {python.parent.parent}/libexec/kuryr
kuryr_uri = {URL}
capability_scope = local
[neutron]
auth_type = password
auth_url = {login["OS_AUTH_URL"]}
username = {login["OS_USERNAME"]}
password = {login["OS_PASSWORD"]}
project_name = {PROJECT}
user_domain_name = Default
project_domain_name = Default
region_name = RegionOne
endpoint_type = public
enable_dhcp = False
""")
    host = playground.host
    # Its script for Open vSwitch calls ovs-vsctl, which finds the database by these.
    sockets = f"{playground.state_dir}/run/ovs"
    environment = [f"OVS_RUNDIR={sockets}", f"PATH={python.parent}:/usr/sbin:/usr/bin:/sbin:/bin"]
    host.run(
        "sh",
        "-c",
        f"mkdir -p /etc/docker/plugins /run/docker/plugins && ln -sfn {sockets}/ovsdb.sock {sockets}/db.sock",
    )
    # Docker looks for addresses of plug-ins there alone; this /etc/docker is the host's own.
    plugins = "mkdir -p /etc/docker && mount -t tmpfs none /etc/docker && mkdir /etc/docker/plugins"
    host.run("sh", "-c", f"{plugins} && echo {URL} > /etc/docker/plugins/kuryr.spec")
    host.run("ln", "-sfn", f"{sockets}/ovsdb.sock", f"{sockets}/db.sock")
    command = ["env", *environment, str(python.parent / "kuryr-server"), "--config-file", str(configuration)]
    process = host.spawn(*command, log=directory / "kuryr.log")
    try:
        answers = ("curl", "-sf", "-X", "POST", f"{URL}/Plugin.Activate")
        wait_for("Kuryr answers", lambda: host.succeeds(*answers), _START_SECONDS)
        inner = int(host.run("pgrep", "-o", "-f", "kuryr-server --config-file").split()[0])
        yield host.outer_pid(inner)
    finally:
        host.run("pkill", "-f", f"kuryr-server --config-file {configuration}", check=False)
        process.wait(60)
        host.run("umount", "/etc/docker")
