"""Who is there when shares are mounted: their owner, and two kernel clients at addresses of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab.control_plane import ControlPlane
from lab.share_access import ShareAccess, share_access
from lab.share_guest import KernelClient, ShareGuest
from lab.share_user import ShareUser


@dataclass(frozen=True)
class ShareWire:
    """A plain user of a control plane's shares, and its clients."""

    user: ShareUser
    access: ShareAccess
    kernels: tuple[KernelClient, ...]


@contextmanager
def wire_of(plane: ControlPlane) -> Iterator[ShareWire]:
    """Start the clients, and end them."""
    with share_access(plane) as access, ShareGuest(access.network, clients=2) as kernels:
        yield ShareWire(ShareUser.of(plane.demo_environment), access, kernels)
