"""What owners of shares and operators do so that clients get at them: mounting by export path, users for SMB."""

import contextlib
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lab.control_plane import ControlPlane
from lab.share_clients import SmbClient
from lab.share_guest import KernelClient
from lab.share_mount import MountedShare
from lab.share_network import Client, ClientNetwork
from lab.share_relay import Relay
from lab.share_user import ShareUser


@dataclass(frozen=True)
class SmbUser:
    """A user that a control plane's Samba knows."""

    name: str
    password: str


@dataclass(frozen=True)
class ShareAccess:
    """How the clients of a network get at the shares of a control plane on this machine."""

    network: ClientNetwork
    plane: ControlPlane

    def mount(self, client: KernelClient, user: ShareUser, share: Mapping[str, Any], **how: Any) -> MountedShare:
        """Mount an NFS share by its preferred export location."""
        path = user.exports(share)[0].partition(":")[2]
        return self.mount_path(client, path, **how)

    def mount_path(self, client: KernelClient, path: str, **how: Any) -> MountedShare:
        """Mount an NFS export by its path alone."""
        return client.mount_nfs(self.network.server_address, path, port=self.plane.ports["nfs"], **how)

    def mount_smb(self, client: KernelClient, user: ShareUser, share: Mapping[str, Any], who: SmbUser) -> MountedShare:
        """Mount a CIFS share by its preferred export location."""
        name = user.exports(share)[0].rpartition("\\")[2]
        port = self.plane.ports["smb"]
        return client.mount_cifs(self.network.server_address, name, user=who.name, password=who.password, port=port)

    def smbclient(self, client: Client, user: ShareUser, share: Mapping[str, Any], who: SmbUser) -> SmbClient:
        """Return smbclient for a CIFS share."""
        name = user.exports(share)[0].rpartition("\\")[2]
        port = self.plane.ports["smb"]
        return SmbClient(client, self.network.server_address, name, who.name, who.password, port)


@contextlib.contextmanager
def share_access(plane: ControlPlane) -> Iterator[ShareAccess]:
    """Make a network of clients of a control plane's shares."""
    with ClientNetwork() as network, Relay(network, plane.ports["nfs"], plane.ports["smb"]):
        yield ShareAccess(network, plane)


@contextlib.contextmanager
def smb_user(plane: ControlPlane, prefix: str = "shareuser") -> Iterator[SmbUser]:
    """Make a user of this machine and tell the control plane's Samba a password, as an operator does."""
    with smb_account(plane, f"{prefix}{uuid.uuid4().hex[:8]}") as user:
        yield user


@contextlib.contextmanager
def smb_account(plane: ControlPlane, name: str) -> Iterator[SmbUser]:
    """Make the user of this very name. RuntimeError if the machine has one."""
    user = SmbUser(name, uuid.uuid4().hex)
    configuration = plane.state_dir / "shares" / "smb.conf"
    _run("useradd", "--no-create-home", "--no-user-group", "--shell", "/usr/sbin/nologin", user.name)
    try:
        _run("smbpasswd", "-c", str(configuration), "-s", "-a", user.name, said=f"{user.password}\n" * 2)
        yield user
    finally:
        _run("userdel", user.name)


def _run(*command: str, said: str = "") -> None:
    done = subprocess.run(command, input=said, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {done.stderr[-500:]}")
