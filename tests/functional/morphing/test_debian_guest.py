"""The demonstration guest, morphed by the worker's kernel, comes up on another bus, chipset and under the same name."""

import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from lab.debian_guest import cached_image
from lab.synthetic_guest import served

from isthmus.migration.machine import Firmware
from isthmus.migration.morphing.contract import MorphRequest, NicPlan, Target, WayIn
from isthmus.migration.morphing.morph import morph
from isthmus.migration.reporting import Silence

MAC = "52:54:00:12:34:56"
_BOOT_SECONDS = 400


def test_a_morphed_debian_boots_on_another_chipset_and_bus() -> None:
    image = cached_image()
    with tempfile.TemporaryDirectory(prefix="/tmp/boot-") as name:
        disk = Path(name) / "disk.qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2", str(disk)], check=True
        )
        with served(disk, "qcow2") as uri:
            target = Target("libvirt", "virtio", "virtio", Firmware.BIOS)
            report = morph(MorphRequest((uri,), target, (NicPlan(MAC),), (), WayIn.WORKER_KERNEL), Silence())
        console = _boot(disk, Path(name) / "console", "GUEST-UP")
    assert "agents: open-vm-tools of the source platform is purged" in report.changes
    assert "RECORDS ok=0 last=0 bad=0 gaps=0" in console
    assert "disk=vda nic=ens3" in console
    assert "machine=q35" in console


@pytest.mark.nightly  # its initramfs waits long for a disk that does not come
def test_an_unmorphed_debian_does_not_find_its_root_there() -> None:
    image = cached_image()
    with tempfile.TemporaryDirectory(prefix="/tmp/boot-") as name:
        disk = Path(name) / "disk.qcow2"
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2", str(disk)], check=True
        )
        console = _boot(disk, Path(name) / "console", "ALERT!")
    assert "/dev/sda1 does not exist" in console
    assert "GUEST-UP" not in console


def _boot(disk: Path, console: Path, marker: str) -> str:
    """Start a q35 machine with the disk on virtio-blk; return its console once the marker's line is whole."""
    machine = subprocess.Popen(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "512", "-smp", "2", "-display", "none"),
            *("-drive", f"file={disk},if=virtio,cache=unsafe", "-device", "pcie-root-port,id=rp1,slot=1"),
            *("-netdev", "user,id=net,restrict=on", "-device", f"virtio-net-pci,netdev=net,bus=rp1,mac={MAC}"),
            *("-serial", f"file:{console}", "-monitor", "none"),
        ]
    )
    try:
        deadline = time.monotonic() + _BOOT_SECONDS
        while time.monotonic() < deadline:
            text = console.read_text(errors="replace") if console.exists() else ""
            if marker in text and text.partition(marker)[2].find("\n") > 0:
                return text
            assert machine.poll() is None, text[-2000:]
            time.sleep(0.5)
    finally:
        machine.kill()
        machine.wait()
    raise AssertionError(f"no {marker} in {_BOOT_SECONDS} s: {text[-2000:]}")
