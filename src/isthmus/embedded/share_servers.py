"""What serves shares on one machine: a pool of btrfs in a file, NFS-Ganesha on a bus of its own, and Samba.

Everything lies in the state directory's `shares` and listens on loopback; the machine's own Ganesha, Samba and system
bus are neither used nor touched. The pool's keeper mounts before the servers start and unmounts after they have ended.
"""

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from socket import AF_INET

import psutil
from jeepney.auth import AuthenticationError
from jeepney.io.blocking import open_dbus_connection

from isthmus.control.errors import InvalidInput, NotSupported, Unavailable
from isthmus.control.readiness import READY_FILE
from isthmus.embedded import nfs3
from isthmus.embedded.layout import LONGEST_SOCKET_PATH, Layout, write_private
from isthmus.embedded.part import Check, NotReady, Part, Site
from isthmus.embedded.ports import LOOPBACK
from isthmus.embedded.readiness import file_exists
from isthmus.shares.drivers.btrfs import mounts
from isthmus.shares.protocols.ganesha_bus import GaneshaBus
from isthmus.shares.protocols.nfs_ganesha import INDEX

BACKEND = "local"
PART_NAMES = ("share-bus", "share-storage", "nfs", "smb")
PROGRAMS = {
    "/usr/bin/dbus-daemon": "dbus-daemon",
    "/usr/bin/ganesha.nfsd": "nfs-ganesha",
    "/usr/lib/ganesha/libfsalvfs.so": "nfs-ganesha-vfs",
    "/usr/sbin/mkfs.btrfs": "btrfs-progs",
    "/usr/sbin/smbd": "samba",
    "/usr/bin/net": "samba-common-bin",
}
_ANSWER_SECONDS = 5.0


def check_installed() -> None:
    """Raise NotSupported naming what is missing and how to have it."""
    missing = sorted({package for program, package in PROGRAMS.items() if not _is_there(program)})
    if missing:
        raise NotSupported(f"not installed: {', '.join(missing)}; run: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise NotSupported("shares are served from mounted file systems: run `isthmus up` as root")
    # Ganesha has the C library leave out kinds of addresses that the machine has none of; 127.0.0.1 counts for none.
    addresses = [each.address for found in psutil.net_if_addrs().values() for each in found if each.family == AF_INET]
    if not set(addresses) - {LOOPBACK}:
        raise NotSupported(
            f"this machine has no address but {LOOPBACK}, and NFS-Ganesha does not start on one: give it another, if "
            "only by `ip address add 127.0.0.2/8 dev lo`"
        )


def backend_options(layout: Layout) -> Mapping[str, str]:
    """Return the options of the back end `local` that do not depend on ports."""
    own = layout.of("shares")
    return {
        "driver": "btrfs",
        "state_dir": str(own / "pool"),
        "image": str(own / "pool.img"),
        "image_gib": "100",
        "ganesha_bus": f"unix:path={_bus(layout)}",
        "ganesha_exports": str(own / "exports"),
        "samba_config": str(own / "smb.conf"),
    }


def backend_section(site: Site) -> str:
    """Return the section of the back end `local` for the services' configuration."""
    facts: dict[str, object] = {
        **backend_options(site.layout),
        "nfs_address": LOOPBACK,
        "nfs_port": site.ports.nfs,
        "smb_address": LOOPBACK,
        "smb_port": site.ports.smb,
    }
    if nfs3.CHOICE.is_chosen(site.layout):
        facts["nfs_versions"] = "3, 4"
    return f"[{BACKEND}]\n" + "".join(f"{option} = {value}\n" for option, value in facts.items())


def configure(site: Site) -> None:
    """Write the configuration of the bus, of Ganesha and of Samba."""
    own = site.layout.of("shares")
    longest = own / "samba" / "msg.sock" / "1234567"
    if len(str(longest).encode()) > LONGEST_SOCKET_PATH:
        raise InvalidInput(
            f"state directory {site.layout.state_dir} is too long for Samba's sockets ({longest}): "
            "choose a shorter one with --state-dir"
        )
    for name in ("pool", "exports", "recovery", "samba", "samba/rpc"):
        (own / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (own / "exports" / INDEX).exists():
        write_private(own / "exports" / INDEX, "# no exports yet\n")
    write_private(own / "bus.conf", _bus_configuration(site.layout))
    write_private(own / "ganesha.conf", _ganesha_configuration(site))
    write_private(own / "smb.conf", _samba_configuration(site))


def parts(site: Site) -> tuple[Part, ...]:
    """Return the bus, the pool's keeper, Ganesha and Samba as parts."""
    own = site.layout.of("shares")
    ready = site.layout.ready_file("share-storage")
    bus_address = f"unix:path={_bus(site.layout)}"
    return (
        Part(
            name="share-bus",
            command=("/usr/bin/dbus-daemon", f"--config-file={own / 'bus.conf'}", "--nofork", "--nopidfile"),
            check=_bus_answers(bus_address),
            address=str(_bus(site.layout)),
        ),
        Part(
            name="share-storage",
            command=(sys.executable, "-m", "isthmus.embedded.share_storage", str(site.layout.state_dir)),
            environment={READY_FILE: str(ready)},
            check=file_exists(ready),
            ready_file=ready,
            address=str(own / "pool.img"),
        ),
        Part(
            name="nfs",
            command=("/usr/bin/ganesha.nfsd", "-F", "-L", "STDOUT", "-N", "NIV_EVENT",
                     "-f", str(own / "ganesha.conf"), "-p", str(site.layout.run / "ganesha.pid")),
            environment={"DBUS_SYSTEM_BUS_ADDRESS": bus_address},
            check=_ganesha_answers(bus_address, site.ports.nfs),
            address=f"{LOOPBACK}:{site.ports.nfs}",
            depends_on=("share-bus", "share-storage"),
        ),
        Part(
            name="smb",
            command=("/usr/sbin/smbd", "--foreground", "--no-process-group", "--debug-stdout",
                     f"--configfile={own / 'smb.conf'}"),
            check=_listens(site.ports.smb),
            address=f"{LOOPBACK}:{site.ports.smb}",
            depends_on=("share-storage",),
        ),
    )  # fmt: skip


def release(layout: Layout) -> None:
    """Take away the mounts of servers that were killed with their keeper. None there: returns."""
    mounts.release_below(layout.of("shares"))


def _is_there(program: str) -> bool:
    path = Path(program)
    return path.exists() or any(path.parent.parent.glob(f"*/ganesha/{path.name}"))


def _bus(layout: Layout) -> Path:
    return layout.run / "bus.sock"


def _bus_configuration(layout: Layout) -> str:
    return f"""\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={_bus(layout)}</listen>
  <auth>EXTERNAL</auth>
  <policy user="root">
    <allow own="org.ganesha.nfsd"/>
    <allow send_destination="*"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
  </policy>
</busconfig>
"""


def _ganesha_configuration(site: Site) -> str:
    own = site.layout.of("shares")
    versions = "3, 4" if nfs3.CHOICE.is_chosen(site.layout) else "4"
    return f"""\
NFS_CORE_PARAM {{
  NFS_Port = {site.ports.nfs};
  Bind_addr = {LOOPBACK};
  Enable_UDP = false;
  # Locks of NFS 3 would need statd, which belongs to the machine.
  Enable_NLM = false;
  Enable_RQUOTA = false;
  Protocols = {versions};
  # Clients of NFS 3 ask for the same paths.
  mount_path_pseudo = true;
}}
NFSv4 {{
  Minor_Versions = 0, 1, 2;
  RecoveryBackend = fs;
  RecoveryRoot = "{own / "recovery"}";
  # Seconds. After a restart, clients have the grace period to take their locks again.
  Lease_Lifetime = 20;
  Grace_Period = 30;
  Only_Numeric_Owners = true;
  Allow_Numeric_Owners = true;
}}
NFS_KRB5 {{ Active_krb5 = false; }}
LOG {{ Default_Log_Level = EVENT; }}
%include "{own / "exports" / INDEX}"
"""


def _samba_configuration(site: Site) -> str:
    own = site.layout.of("shares") / "samba"
    return f"""\
[global]
server role = standalone server
interfaces = lo
bind interfaces only = yes
smb ports = {site.ports.smb}
disable netbios = yes
private dir = {own}
lock directory = {own}
state directory = {own}
cache directory = {own}
pid directory = {own}
ncalrpc dir = {own}/rpc
log file = {own}/log
passdb backend = tdbsam:{own}/passdb.tdb
registry shares = yes
server min protocol = SMB2
map to guest = never
restrict anonymous = 2
load printers = no
printing = bsd
# Shares are files of root's, whoever writes; links could only lead astray.
follow symlinks = no
wide links = no
"""


def _bus_answers(address: str) -> Check:
    def check() -> None:
        try:
            open_dbus_connection(address).close()
        except AuthenticationError as error:
            raise NotReady(f"the bus: {error}") from error

    return check


def _ganesha_answers(address: str, port: int) -> Check:
    listens, bus = _listens(port), GaneshaBus(address)

    def check() -> None:
        listens()
        try:
            bus.export_ids()
        except Unavailable as error:
            raise NotReady(error.message) from error

    return check


def _listens(port: int) -> Check:
    def check() -> None:
        socket.create_connection((LOOPBACK, port), timeout=_ANSWER_SECONDS).close()

    return check
