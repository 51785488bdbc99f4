"""An NFS and an SMB server by hand, to prove the clients of `lab.share_guest` and `lab.share_clients` upon.

Nothing of Isthmus is in it: NFS-Ganesha and Samba from Debian serve one btrfs subvolume of 64 MiB from a network,
PID and mount namespace of their own, at the usual ports of an address of a `ClientNetwork`.
"""

import contextlib
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lab.share_network import Client, ClientNetwork

USER, PASSWORD = "labuser", "lab-password"
LIMIT_MIB = 64
START_SECONDS = 30
_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={home}/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy></busconfig>
"""
_GANESHA = """NFS_CORE_PARAM {{ NFS_Port = 2049; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false;
  Enable_UDP = false; Protocols = 3,4; mount_path_pseudo = true; }}
NFSv4 {{ Graceless = true; RecoveryBackend = fs; RecoveryRoot = {home}/recovery; Lease_Lifetime = 10;
  Minor_Versions = 0,1,2; Only_Numeric_Owners = true; Allow_Numeric_Owners = true; }}
NFS_KRB5 {{ Active_krb5 = false; }}
%include "{home}/export.conf"
"""
_EXPORT = """EXPORT {{ Export_Id = 100; Path = {home}/share; Pseudo = /share; Protocols = 3,4; Transports = TCP;
  SecType = sys; Squash = None; Access_Type = NONE; Filesystem_Id = 192.100; FSAL {{ Name = VFS; }}
{clients} }}
"""
_SAMBA = """[global]
server role = standalone server
disable netbios = yes
smb ports = 445
private dir = {home}/samba
lock directory = {home}/samba
state directory = {home}/samba
cache directory = {home}/samba
pid directory = {home}/samba
ncalrpc dir = {home}/samba/rpc
log file = {home}/samba/log
passdb backend = tdbsam:{home}/samba/passdb.tdb
server min protocol = SMB2
load printers = no
printing = bsd
[share]
path = {home}/share
valid users = {user}
writeable = yes
[readonly]
path = {home}/share
valid users = {user}
writeable = no
"""
_START = """set -e
mount -t proc none /proc; mount -t tmpfs none /run; mkdir -p /run/ganesha /run/rpcbind
truncate -s 512M image; mkfs.btrfs -q image; mkdir fs share; mount -o loop image fs
btrfs quota enable fs; btrfs subvolume create fs/share; btrfs qgroup limit {limit}M fs/share; chmod 777 fs/share
mount --bind fs/share share
cp /etc/passwd passwd; echo '{user}:x:64000:64000::/nonexistent:/usr/sbin/nologin' >>passwd
mount --bind passwd /etc/passwd
printf '{password}\\n{password}\\n' | smbpasswd -c smb.conf -s -a {user}
dbus-daemon --config-file=bus.conf --nopidfile --fork
rpcbind
export DBUS_SYSTEM_BUS_ADDRESS=unix:path={home}/bus
ganesha.nfsd -L {home}/ganesha.log -f {home}/ganesha.conf -p {home}/ganesha.pid -N NIV_EVENT
smbd -D -s {home}/smb.conf
"""


class ShareServers:
    """Both servers; a context manager. NFS is at `address`:/share, SMB at //`address`/share and /readonly."""

    def __init__(self, network: ClientNetwork) -> None:
        self._network = network
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="share-servers-")))
            self._home.chmod(0o755)
            self._place: Client = stack.enter_context(contextlib.closing(self._network.client(mounts=True)))
            self.address = self._place.address
            for name in ("recovery", "samba/rpc"):
                (self._home / name).mkdir(parents=True)
            facts = {"home": self._home, "user": USER, "password": PASSWORD, "limit": LIMIT_MIB}
            for name, text in (("bus.conf", _BUS), ("ganesha.conf", _GANESHA), ("smb.conf", _SAMBA)):
                (self._home / name).write_text(text.format(**facts))
            self._write_export({})
            self._shell(_START.format(**facts))
            self._wait_for(2049)
            self._wait_for(445)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def allow(self, clients: dict[str, str]) -> None:
        """Let exactly these NFS clients in: address (or network) to `RW` or `RO`. It holds when this returns."""
        self._write_export(clients)
        self._shell(
            f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={self._home}/bus dbus-send --system --print-reply "
            "--dest=org.ganesha.nfsd /org/ganesha/nfsd/ExportMgr org.ganesha.nfsd.exportmgr.UpdateExport "
            f"string:{self._home}/export.conf 'string:EXPORT(Export_Id=100)'"
        )

    def _write_export(self, clients: dict[str, str]) -> None:
        blocks = "".join(f"  CLIENT {{ Clients = {who}; Access_Type = {level}; }}\n" for who, level in clients.items())
        (self._home / "export.conf").write_text(_EXPORT.format(home=self._home, clients=blocks))

    def _shell(self, script: str) -> None:
        command = self._place.command("sh", "-c", f"cd {self._home}\n{script}")
        with (self._home / "said").open("ab") as said:  # not a pipe: daemons keep it open
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False, timeout=60)
        if done.returncode:
            raise RuntimeError(f"the servers' shell failed: {(self._home / 'said').read_text()[-1000:]}")

    def _wait_for(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((self.address, port), 1).close()
            except OSError as error:
                if time.monotonic() > deadline:
                    log = self._home / "ganesha.log"
                    said = log.read_text()[-2000:] if log.exists() else ""
                    raise RuntimeError(f"nobody listens on port {port}: {said}") from error
                time.sleep(0.05)
            else:
                return
