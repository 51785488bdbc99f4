"""Whether KVM really runs a guest's kernel on this machine.

/dev/kvm may exist and be useless: a nested hypervisor may emulate every instruction, so that SeaBIOS and a few bytes of
boot sector pass while a real kernel hangs in its decompressor. So the check starts a real kernel, the one that the
appliance uses, and waits for its first lines on the serial console.
"""

import functools
import glob
import os
import subprocess
import tempfile
from pathlib import Path

_SECONDS = 10
_READY = b"Linux version"
_SETTING = "ISTHMUS_APPLIANCE_ACCELERATION"


@functools.cache
def kvm_works() -> bool:
    """Return whether a kernel printed its version under KVM within 10 s; asked once for each process.

    The environment variable ISTHMUS_APPLIANCE_ACCELERATION=kvm or =tcg answers instead, for machines that are known.
    """
    setting = os.environ.get(_SETTING)
    if setting:
        return setting == "kvm"
    kernels = sorted(glob.glob("/boot/vmlinuz-*"))
    if not os.access("/dev/kvm", os.R_OK | os.W_OK) or not kernels:
        return False
    with tempfile.TemporaryDirectory(prefix="isthmus-kvm-") as directory:
        console = Path(directory) / "console"
        command = [
            *("qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-m", "256", "-display", "none", "-nodefaults"),
            *("-no-user-config", "-no-reboot", "-kernel", kernels[-1], "-append", "console=ttyS0 panic=-1"),
            *("-serial", f"file:{console}"),
        ]
        try:
            subprocess.run(command, timeout=_SECONDS, check=False, capture_output=True)
        except subprocess.TimeoutExpired:
            return False
        except FileNotFoundError:
            return False
        # panic=-1 with -no-reboot ends QEMU as soon as the kernel finds no root: seconds where KVM works.
        return console.exists() and _READY in console.read_bytes()
