"""Many machines that are quick to move: small disks with a little on them, off, and no operating system."""

import os
import subprocess
from contextlib import closing

import libvirt

from lab.clouds import LibvirtCloud
from lab.tiny_guest import domain_xml

MIB = 1 << 20
MEMORY_MIB = 32


def define_many(cloud: LibvirtCloud, names: list[str], *, disk_mib: int = 64, data_mib: int = 8) -> None:
    """Define machines with one qcow2 disk each, of which so much holds random bytes."""
    with closing(cloud.connect()) as connection:
        for name in names:
            path = cloud.pool_directory / f"{name}.qcow2"
            raw = path.with_suffix(".new")
            raw.write_bytes(os.urandom(data_mib * MIB))
            os.truncate(raw, disk_mib * MIB)
            command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            raw.unlink()
            connection.defineXML(domain_xml(name, [path], "qcow2", memory_mib=MEMORY_MIB))
        connection.storagePoolLookupByName("default").refresh()


def pause(cloud: LibvirtCloud, name: str) -> None:
    """Start a machine with its processors stopped: it cannot be asked to shut down."""
    with closing(cloud.connect()) as connection:
        connection.lookupByName(name).createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)


def power_off(cloud: LibvirtCloud, name: str) -> None:
    """Cut a machine's power."""
    with closing(cloud.connect()) as connection:
        connection.lookupByName(name).destroy()


def volumes(cloud: LibvirtCloud) -> list[str]:
    """Return the names of the volumes in the cloud's pool."""
    with closing(cloud.connect()) as connection:
        pool = connection.storagePoolLookupByName("default")
        pool.refresh()
        return sorted(pool.listVolumes())
