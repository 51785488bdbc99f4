"""One migration of the demonstration guest through the `isthmus` command, watched from outside.

What Isthmus says of itself comes from its report; whether the machine is the same one is judged from what the guest
says on its consoles: the last record it wrote at the source against the records it finds at the destination.
"""

import json
import re
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.clouds import LibvirtCloud
from lab.console import Console
from lab.control_plane import ISTHMUS

GUEST = "demo-guest"
BOOT_SECONDS = 600
MIGRATE_SECONDS = 2400

# A machine as the guest's home cloud makes them: i440FX, virtio-scsi, the NIC in PCI slot 3.
_DOMAIN = """<domain type='qemu'><name>{name}</name><memory unit='MiB'>512</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features><cpu mode='maximum'/>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/><source file='{disk}'/>
<target dev='sda' bus='scsi'/></disk>
<controller type='scsi' model='virtio-scsi'/>
<interface type='network'><mac address='{mac}'/><source network='default'/><model type='virtio'/>
<address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/></interface>
<console type='pty'/>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
</devices></domain>"""


@dataclass(frozen=True)
class Records:
    """What the guest found at boot of the records it had written: intact ones, the last number, broken ones, holes."""

    ok: int
    last: int
    bad: int
    gaps: int

    @classmethod
    def parse(cls, text: str) -> "Records":
        """Read the guest's `RECORDS ok=… last=… bad=… gaps=…`; ValueError if it is not there."""
        found = re.search(r"RECORDS ok=(\d+) last=(\d+) bad=(\d+) gaps=(\d+)", text)
        if not found:
            raise ValueError(f"the guest did not say what records it found:\n{text}")
        return cls(*(int(number) for number in found.groups()))

    def lost(self, written: int) -> int:
        """Return how many of the records 1 to `written` are not there intact."""
        return max(0, written - self.last) + self.bad + self.gaps


@dataclass(frozen=True)
class Crossing:
    """One direction, measured. Bytes and seconds."""

    machine: str
    deployment: str
    bytes_full: int
    bytes_increment: int
    downtime_seconds: float
    records_written: int
    records_lost: int
    boot_seconds: float
    morphing_changes: list[str]
    verified: bool


def define_guest(cloud: LibvirtCloud, image: Path) -> None:
    """Put a copy of the guest's image into the cloud's pool and define and start a machine on it."""
    disk = cloud.pool_directory / f"{GUEST}.qcow2"
    subprocess.run(["cp", "--sparse=always", str(image), str(disk)], check=True)
    mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in uuid.uuid4().bytes[:3])
    connection = cloud.connect()
    try:
        connection.defineXML(_DOMAIN.format(name=GUEST, disk=disk, mac=mac)).create()
    finally:
        connection.close()


def register(environment: Mapping[str, str], name: str, cloud: LibvirtCloud) -> None:
    """Register a cloud as an endpoint of the user that `environment` logs in."""
    # The details travel on standard input: they may hold secrets, and argv is for everybody to read.
    command = [ISTHMUS, "endpoint", "create", "--provider", "libvirt", "--name", name, "--connection", "-"]
    done = subprocess.run(
        command, env=environment, input=json.dumps(cloud.connection), text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"endpoint {name} was not created: {done.stdout}{done.stderr}")


def cross(
    environment: Mapping[str, str],
    *,
    machine: str,
    source: tuple[str, LibvirtCloud],
    destination: str,
    destination_environment: Mapping[str, Any],
    syncs: int = 2,
    watch: bool = False,
) -> Crossing:
    """Move `machine` with `isthmus migrate` and return what was measured; raise if it did not arrive."""
    name, cloud = source
    with Console(cloud, machine) as console, tempfile.TemporaryDirectory() as directory:
        report_file = Path(directory) / "report.json"
        settings = Path(directory) / "destination.json"
        settings.write_text(json.dumps(destination_environment), encoding="utf-8")
        command = [
            *(ISTHMUS, "migrate", machine, "--from", name, "--to", destination, "--default-network", "default"),
            *("--destination-environment", str(settings), "--syncs", str(syncs), "--report", str(report_file)),
            *("--boot-probe", "console:GUEST-UP", "--boot-timeout", str(BOOT_SECONDS)),
            "--watch" if watch else "--no-watch",
        ]
        done = subprocess.run(
            command, env=environment, text=True, capture_output=not watch, timeout=MIGRATE_SECONDS, check=False
        )
        if done.returncode != 0:
            said = f"{done.stdout}{done.stderr}" if not watch else "see above"
            raise RuntimeError(f"isthmus migrate ended with {done.returncode}: {said}")
        report = json.loads(report_file.read_text(encoding="utf-8"))
        written = int(console.last(r"RECORD (\d+)")[1])
    found = Records.parse("\n".join(report["console_tail"]))
    return Crossing(
        machine=report["machine"],
        deployment=report["deployment_id"],
        bytes_full=report["bytes_full"],
        bytes_increment=report["bytes_increment"],
        downtime_seconds=report["downtime_seconds"],
        records_written=written,
        records_lost=found.lost(written),
        boot_seconds=report["boot_seconds"],
        morphing_changes=report["morphing_changes"],
        verified=0 < report["bytes_full"] <= report["bytes_verified"] and found.lost(written) == 0,
    )
