"""Whether a hypervisor can really run guests by KVM.

/dev/kvm and libvirt's capabilities say yes on machines where a guest then aborts or crawls. So a trial: a boot
sector that counts to 2^28, which takes a CPU well under a second, and then powers off through QEMU's debug exit is
too much to bring along; a trial guest of SeaBIOS alone proves too little. Until such a trial exists here, `auto`
means emulation, and KVM is a choice of the destination environment.
"""

from collections.abc import Mapping
from typing import Any


def virt_type(environment: Mapping[str, Any]) -> str:
    """Return libvirt's domain type for the environment's `virt_type`."""
    chosen = environment.get("virt_type", "auto")
    return "qemu" if chosen == "auto" else str(chosen)
