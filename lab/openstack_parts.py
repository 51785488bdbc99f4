"""The programs of the lab's OpenStack cloud, as parts of the same supervisor that runs Isthmus's control plane."""

import glob
import os
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from isthmus.embedded import open_vswitch, ovn, ovsdb, uwsgi
from isthmus.embedded.credentials import Credentials
from isthmus.embedded.layout import Layout
from isthmus.embedded.part import Check, NotReady, Part, Site, program
from isthmus.embedded.ports import Ports
from isthmus.embedded.readiness import http_answers, mariadb_answers
from lab import openstack_settings as settings

STATE = settings.STATE
_ANY = "0.0.0.0"
_MODULES = {
    "keystone": "keystone.wsgi.api",
    "glance": "glance.wsgi.api",
    "placement": "placement.wsgi.api",
    "neutron": "neutron.wsgi.api",
    "nova": "nova.wsgi.osapi_compute",
    "cinder": "cinder.wsgi.api",
}
_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "cinder": ("--pyargv", f"--config-file {STATE}/cinder/cinder.conf"),
    # Nova sends images in chunks of 1 MiB, which is just too much by default.
    "glance": ("--chunked-input-limit", str(4 << 20)),
}


def site() -> Site:
    """Return what the parts share, in the terms of `isthmus.embedded`."""
    return Site(
        Layout(STATE), Ports(keystone=settings.PORTS["keystone"], neutron=settings.PORTS["neutron"]), Credentials()
    )


def all_parts(place: Site) -> list[Part]:
    """Return every part."""
    # The chassis has the name that Nova gives the host.
    name = f"external-ids:hostname={settings.HOST}"
    switch = _with_preparation(open_vswitch.part(place), lambda word: name if "ids:hostname=" in word else word)
    return [
        mariadb(),
        _epmd(),
        _rabbit(),
        *(_with_preparation(part) for part in ovsdb.parts(place)),
        switch,
        *ovn.parts(place),
        _libvirt("virtlogd"),
        _libvirt("libvirtd", "virtlogd"),
        *(_api(name) for name in _MODULES),
        *(_agent("nova", kind) for kind in ("conductor", "scheduler", "compute")),
        *(_agent("cinder", kind) for kind in ("scheduler", "volume")),
    ]


def _with_preparation(part: Part, change: Callable[[str], str] = str) -> Part:
    """Return a part whose preparation finds our own code, as it is not installed beside the services."""
    preparation = part.preparation
    assert preparation is not None
    command = tuple(change(word) for word in preparation.command)
    variables = {**preparation.environment, "PYTHONPATH": os.environ["PYTHONPATH"]}
    return replace(part, preparation=replace(preparation, command=command, environment=variables))


def environment() -> dict[str, str]:
    """Return what every service needs: first the stand-ins for sudo, rootwrap and mount."""
    services = settings.venv()
    return {
        "PATH": f"{STATE}/shims:{services}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "OS_KEYSTONE_CONFIG_DIR": f"{STATE}/keystone",
        "OS_KEYSTONE_CONFIG_FILES": f"{STATE}/keystone/keystone.conf",
        "OS_GLANCE_CONFIG_DIR": f"{STATE}/glance",
        "OS_GLANCE_CONFIG_FILES": "glance-api.conf",
        "OS_PLACEMENT_CONFIG_DIR": f"{STATE}/placement",
        "OS_NEUTRON_CONFIG_DIR": f"{STATE}/neutron",
        "OS_NEUTRON_CONFIG_FILES": "neutron.conf",
        "OS_NOVA_CONFIG_DIR": f"{STATE}/nova",
        "OS_NOVA_CONFIG_FILES": f"{services}/etc/nova/api-paste.ini;{STATE}/nova/nova.conf",
    }


def mariadb() -> Part:
    """Return the one database server; its data is from the seed."""
    own = STATE / "mariadb"
    return Part(
        name="mariadb",
        command=(
            "/usr/sbin/mariadbd", "--no-defaults", "--user=root", f"--datadir={own}/data",
            f"--socket={STATE}/run/mariadb.sock", f"--pid-file={STATE}/run/mariadb.pid", f"--init-file={own}/init.sql",
            "--skip-networking", "--skip-name-resolve", "--character-set-server=utf8mb4", "--max-connections=500",
            "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--innodb-buffer-pool-size=192M",
            "--performance-schema=off",
        ),
        check=mariadb_answers(STATE / "run" / "mariadb.sock", "lab", settings.PASSWORD),
        address=f"{STATE}/run/mariadb.sock",
    )  # fmt: skip


def _epmd() -> Part:
    # Our own, or Erlang would leave a daemon behind.
    return Part(
        name="epmd",
        command=("epmd", "-port", str(settings.EPMD_PORT), "-address", "127.0.0.1"),
        check=_listens(settings.EPMD_PORT),
        address=f"port {settings.EPMD_PORT}",
    )


def _rabbit() -> Part:
    """Return RabbitMQ by its package's own script: Debian's wrapper wants another user."""
    found = sorted(glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"))
    own, port = STATE / "rabbit", settings.RABBIT_PORT
    variables = {
        "HOME": str(own),
        "ERL_EPMD_PORT": str(settings.EPMD_PORT),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "lab@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(port + 20),
        "RABBITMQ_MNESIA_BASE": f"{own}/mnesia",
        "RABBITMQ_LOG_BASE": f"{own}/log",
        "RABBITMQ_CONFIG_FILE": f"{own}/rabbitmq",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{own}/plugins",
        # Idle schedulers must not spin.
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
    }
    command = (found[-1] if found else "rabbitmq-server",)
    return Part("rabbit", command, _listens(port), f"port {port}", ("epmd",), variables)


def _libvirt(name: str, *needs: str) -> Part:
    return Part(
        name=name,
        command=(f"/usr/sbin/{name}", "-f", f"/etc/libvirt/{name}.conf", "-p", f"{STATE}/run/{name}.pid"),
        check=_libvirt_answers if name == "libvirtd" else _exists(Path("/run/libvirt/virtlogd-sock")),
        address="qemu:///system",
        depends_on=needs,
    )


def _api(name: str) -> Part:
    port = settings.PORTS[name]
    words = ("--module", f"{_MODULES[name]}:application", *_OPTIONS.get(name, ()))
    needs = {"neutron": (ovn.NORTHD, ovsdb.SOUTHBOUND), "nova": ("rabbit",), "cinder": ("rabbit",)}
    command = uwsgi.command(port, 4, *words)
    # One interpreter, or cryptography's native code fails; any address, as the catalogue's is not 127.0.0.1.
    command = tuple(f"{_ANY}:{port}" if word == f"127.0.0.1:{port}" else word for word in command)
    return Part(
        name=name,
        command=command,
        # 300: a list of versions. 401: it asks for a token.
        check=http_answers(port, "/", also=(300, 401)),
        address=settings.url(name),
        depends_on=("mariadb", *needs.get(name, ())),
        environment=environment(),
        start_limit=240.0,
    )


def _agent(service: str, kind: str) -> Part:
    """Return a service's program that listens to RabbitMQ; whether it works is seen in the cloud's own lists."""
    needs: Mapping[str, tuple[str, ...]] = {
        "nova-compute": ("libvirtd", "placement", "neutron", "nova-conductor"),
        "cinder-volume": ("keystone",),
    }
    name = f"{service}-{kind}"
    return Part(
        name=name,
        command=(program(name), "--config-file", f"{STATE}/{service}/{service}.conf"),
        check=_always,
        address="by RabbitMQ",
        depends_on=("mariadb", "rabbit", "keystone", *needs.get(name, ())),
        environment=environment(),
        stop_limit=10.0,
    )


def _always() -> None:
    """The program runs; nothing of it can be asked."""


def _listens(port: int) -> Check:
    def check() -> None:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()

    return check


def _exists(path: Path) -> Check:
    def check() -> None:
        if not path.exists():
            raise NotReady(f"{path} is not there yet")

    return check


def _libvirt_answers() -> None:
    done = subprocess.run(
        ["virsh", "-c", "qemu:///system", "version"], capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode:
        raise NotReady(done.stderr.strip()[-200:])
