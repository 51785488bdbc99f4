"""libvirt's errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from isthmus.control.errors import Conflict, IsthmusError, NotAuthenticated, NotFound, StepFailed, Unavailable

_GONE = frozenset(
    {
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_STORAGE_POOL,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_NO_NETWORK,
        libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT,
        libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
        libvirt.VIR_ERR_NO_DOMAIN_METADATA,
    }
)
_REFUSED = frozenset({libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED, libvirt.VIR_ERR_AUTH_UNAVAILABLE})
_SILENT = frozenset(
    {
        libvirt.VIR_ERR_RPC,
        libvirt.VIR_ERR_NO_CONNECT,
        libvirt.VIR_ERR_INVALID_CONN,
        libvirt.VIR_ERR_GNUTLS_ERROR,
        libvirt.VIR_ERR_LIBSSH,
        libvirt.VIR_ERR_SSH,
        libvirt.VIR_ERR_OPERATION_TIMEOUT,
    }
)
_LOST_CONNECTION = ("client socket is closed", "connection closed", "keepalive", "cannot recv", "cannot write data")


def is_gone(error: libvirt.libvirtError) -> bool:
    """Tell whether the object named in the call does not exist (any more)."""
    return error.get_error_code() in _GONE


def is_unreachable(error: libvirt.libvirtError) -> bool:
    """Tell whether the hypervisor, not the call, is the trouble."""
    text = str(error).lower()
    return error.get_error_code() in _SILENT or any(words in text for words in _LOST_CONNECTION)


def translate(error: libvirt.libvirtError, subject: str) -> IsthmusError:
    """Return our error for libvirt's; `subject` names the object in the message ("machine web")."""
    code, text = error.get_error_code(), error.get_error_message()
    if code in _GONE:
        return NotFound(f"{subject} does not exist on the hypervisor ({text}); list what there is and choose again")
    if code in _REFUSED:
        return NotAuthenticated(f"{subject}: the hypervisor refuses the credentials ({text}); correct the endpoint's")
    if is_unreachable(error):
        return Unavailable(f"{subject}: the hypervisor does not answer ({text}); check that libvirtd runs there")
    if 'Failed to get "write" lock' in text or "Failed to get shared" in text:
        return Conflict(f"{subject}: one of its disks is in use by another machine ({text}); stop that one first")
    return StepFailed(f"{subject}: {text}; see the hypervisor's libvirt log for the cause")


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Turn libvirt's errors from inside the block into ours."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error, subject) from error
