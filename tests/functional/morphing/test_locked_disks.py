"""LVM and LUKS: a guest whose root is a logical volume inside a LUKS volume, opened in the appliance by a key."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.synthetic_guest import MAC, served
from tests.locked_guest import make_locked_disk
from tests.rpm_guest import KERNEL

from isthmus.control.errors import NotSupported, StepFailed
from isthmus.migration.machine import Firmware
from isthmus.migration.morphing.contract import MorphRequest, NicPlan, Target, WayIn
from isthmus.migration.morphing.morph import morph
from isthmus.migration.reporting import Level, Progress

KEY = "correct horse battery staple"


class Silent:
    def event(self, level: Level, message: str) -> None:
        assert KEY not in message

    def progress(self, progress: Progress) -> None: ...

    def check(self) -> None: ...


@pytest.fixture(scope="module")
def disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="/tmp/luks-") as name:
        yield make_locked_disk(Path(name), KEY)


def _request(uri: str, way_in: WayIn, *keys: str) -> MorphRequest:
    target = Target("libvirt", "virtio", "virtio", Firmware.BIOS)
    return MorphRequest((uri,), target, (NicPlan(MAC),), (), way_in, luks_keys=keys)


@pytest.mark.nightly  # three appliances: minutes where the processor is emulated
def test_a_root_in_lvm_in_luks_is_changed_with_its_key(disk: Path) -> None:
    with served(disk) as uri:
        request = _request(uri, WayIn.APPLIANCE, "another volume's", KEY)
        answer = morph(request, Silent())
    assert KEY not in repr(request)
    assert f"initramfs: made again for kernel {KERNEL}" in answer.changes
    assert any(change.startswith("lvm: ") for change in answer.changes)
    assert any(change.startswith("fstab: /boot is mounted by UUID=") for change in answer.changes)
    assert "agents: open-vm-tools of the source platform is purged" in answer.changes


@pytest.mark.nightly
def test_a_key_that_does_not_open_is_told(disk: Path) -> None:
    with served(disk) as uri, pytest.raises(StepFailed, match=r"none of the given keys opens .* disk 1 partition 2"):
        morph(_request(uri, WayIn.APPLIANCE, "wrong"), Silent())


def test_a_locked_root_names_the_ways_on() -> None:
    with tempfile.TemporaryDirectory(prefix="/tmp/locked-") as name:
        file, volume = Path(name) / "disk.raw", Path(name) / "volume.raw"
        for path, size in ((file, 40 << 20), (volume, 32 << 20)):
            with path.open("wb") as opened:
                opened.truncate(size)
        weak = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
        subprocess.run(["cryptsetup", "luksFormat", "-q", *weak, str(volume), "-"], input=KEY.encode(), check=True)
        subprocess.run(["sfdisk", "-q", str(file)], input="label: dos\n2048,,83\n", text=True, check=True)
        with file.open("r+b") as opened:
            opened.seek(1 << 20)
            opened.write(volume.read_bytes())
        with served(file) as uri, pytest.raises(NotSupported, match=r"inside LUKS.*luks_keys.*skip_os_morphing"):
            morph(_request(uri, WayIn.WORKER_KERNEL, KEY), Silent())
