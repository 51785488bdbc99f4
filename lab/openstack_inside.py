"""What runs in a cloud's namespaces: `python -m lab.openstack_inside seed|supervise` (see `lab.openstack_cloud`).

It is run by the services' own Python, which has all that the supervisor needs.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isthmus.embedded import mariadb_install
from isthmus.embedded.part import Check, NotReady
from isthmus.embedded.supervisor import Supervisor
from isthmus.embedded.watch import Report
from lab import openstack_parts as parts
from lab import openstack_settings as settings

STATE = settings.STATE
_BIND_DIRECTORIES = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
_SHIMS = {
    # All are root here: no sudo, no rootwrap.
    "sudo": '#!/bin/sh\nexec "$@"\n',
    "nova-rootwrap": '#!/bin/sh\nshift; exec "$@"\n',
    "cinder-rootwrap": '#!/bin/sh\nshift; exec "$@"\n',
    # Asked once whether it is there.
    "mount.nfs": "#!/bin/sh\nexit 1\n",
    # A kernel need not have NFS: its mount of our export becomes a bind mount, which all others' calls take for it.
    "mount": f"""#!/bin/sh
case " $* " in *" -t nfs "*) ;; *) exec /bin/mount "$@";; esac
for word; do share=$place place=$word; done
[ "$share" = "{settings.SHARE}" ] && exec /bin/mount --bind "{STATE}/share" "$place"
echo "mount.nfs: no such share $share" >&2; exit 32
""",
}
_ROOMS = (
    *(f"network/{name}" for name in ("ovsdb", "ovn-nb", "ovn-sb", "vswitchd")),
    *("run/ovs", "log", "mariadb", "keystone", "rabbit", "shims", "share", "mnt"),
    *("glance/images", "glance/staging", "glance/tasks", "glance/lock", "placement/lock", "neutron/lock"),
    *("cinder/lock", "cinder/conversion", "nova/lock", "nova/instances"),
)


def prepare() -> None:
    """Make the state directory's rooms and files, and the mounts."""
    for room in (*_ROOMS, *(f"libvirt/{name}" for name in _BIND_DIRECTORIES)):
        (STATE / room).mkdir(parents=True, exist_ok=True)
    for name, text in settings.configuration().items():
        (STATE / name).write_text(text)
    for name, text in _SHIMS.items():
        (STATE / "shims" / name).write_text(text)
        (STATE / "shims" / name).chmod(0o755)
    for name, target in _BIND_DIRECTORIES.items():
        Path(target).mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", f"{STATE}/libvirt/{name}", target)
    # os-vif looks in /sys/class/net, which shows the namespace that it was mounted in; QEMU's cgroups stay.
    cgroups = STATE / "run" / "cgroups"
    cgroups.mkdir(exist_ok=True)
    _run("mount", "--rbind", "/sys/fs/cgroup", str(cgroups))
    _run("mount", "-t", "sysfs", "isthmus-lab", "/sys")
    _run("mount", "--rbind", str(cgroups), "/sys/fs/cgroup")
    _run("umount", "--lazy", str(cgroups))


def seed() -> None:
    """Make all databases, keys, users and the catalogue in the state directory."""
    mariadb_install.install(STATE / "mariadb" / "data")
    made = [f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3;" for name in settings.DATABASES]
    made += [
        f"CREATE USER IF NOT EXISTS lab@localhost IDENTIFIED BY '{settings.PASSWORD}';",
        "GRANT ALL ON *.* TO lab@localhost;",
    ]
    (STATE / "mariadb" / "init.sql").write_text("\n".join(made) + "\n")
    server = parts.mariadb()
    with subprocess.Popen(server.command) as running:
        try:
            _wait_for(server.check)
            with ThreadPoolExecutor(2) as two:
                for done in [two.submit(_chain, chain) for chain in _chains()]:
                    done.result()
        finally:
            running.terminate()
            running.wait(60)


def _chains() -> tuple[list[list[str]], list[list[str]]]:
    """Return the commands that make the schemas: two chains of equal length, for two cores."""

    def tool(name: str, service: str, file: str, *words: str) -> list[str]:
        return [str(settings.venv() / "bin" / name), "--config-file", f"{STATE}/{service}/{file}", *words]

    nova = ("nova-manage", "nova", "nova.conf")
    cell0 = ("--database_connection", settings.database("nova_cell0"))
    first = [
        [sys.executable, "-m", "isthmus.embedded.keystone_directory", f"{STATE}/keystone/keystone.conf"],
        tool("neutron-db-manage", "neutron", "neutron.conf", "upgrade", "heads"),
        tool("glance-manage", "glance", "glance-api.conf", "db_sync"),
    ]
    second = [
        tool(*nova, "api_db", "sync"),
        tool(*nova, "cell_v2", "map_cell0", *cell0),
        tool(*nova, "cell_v2", "create_cell", "--name", "cell1"),
        tool(*nova, "db", "sync"),
        tool("placement-manage", "placement", "placement.conf", "db", "sync"),
        tool("cinder-manage", "cinder", "cinder.conf", "db", "sync"),
    ]
    return first, second


def _chain(commands: list[list[str]]) -> None:
    for command in commands:
        given = json.dumps(settings.directory()) if "keystone_directory" in command[2] else ""
        subprocess.run(command, input=given, text=True, check=True)


def _wait_for(check: Check) -> None:
    for _ in range(300):
        try:
            check()
        except (NotReady, OSError):
            time.sleep(0.2)
        else:
            return
    raise TimeoutError("MariaDB did not start in 60 s: see its log")


def supervise(address: str) -> None:
    """Run all parts until told to stop; Keystone's catalogue names `address`."""
    old = "'//[0-9.]+:'"
    (STATE / "mariadb" / "init.sql").write_text(
        f"UPDATE keystone.endpoint SET url = REGEXP_REPLACE(url, {old}, '//{address}:');\n"
    )
    place = parts.site()
    Supervisor(place.layout, parts.all_parts(place), _say).run()


def _say(reports: list[Report]) -> None:
    for report in reports:
        if report.message:
            sys.stderr.write(f"{report.name}: {report.state}: {report.message}\n")
    sys.stderr.flush()


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    prepare()
    if sys.argv[1] == "seed":
        seed()
    else:
        supervise(sys.argv[2])
