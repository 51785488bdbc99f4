"""What Isthmus has left behind: in a cloud, in the worker's staging directory, on this machine.

Every finding is one line that says what and where. Machines and volumes that people asked for are theirs to remove
first (`remove_machine`); what is found after that should not be there.
"""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import psutil

from lab.clouds import LibvirtCloud


def in_cloud(cloud: LibvirtCloud) -> list[str]:
    """Return helper domains, checkpoints, backup jobs, sockets, and all files in the pool, scratch files among them.

    The pool has to be empty: machines are removed before this is asked.
    """
    with closing(cloud.connect()) as connection:
        found = [line for domain in connection.listAllDomains() for line in _of_domain(domain)]
    found += [f"file {path.name}" for path in cloud.pool_directory.iterdir()]
    found += [f"socket {path.name}" for path in cloud.nbd_directory.iterdir()]
    return [f"{cloud.name}: {line}" for line in found]


def bitmaps(disk: Path) -> list[str]:
    """Return the dirty bitmaps in an image that nobody has open."""
    shown = json.loads(_run("qemu-img", "info", "-U", "--output=json", str(disk)))
    kept = shown.get("format-specific", {}).get("data", {}).get("bitmaps", [])
    return [f"bitmap {each['name']} in {disk.name}" for each in kept]


def on_worker(state_dir: Path) -> list[str]:
    """Return state files, and processes and devices that a control plane's worker has made and not taken back."""
    staging = state_dir / "isthmus" / "staging"
    found = [f"staging: {path.relative_to(staging)}" for path in staging.rglob("*")]
    found += [
        f"process {process.pid} {process.info['name']}"
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] in {"nbdfuse", "nbdkit"} and str(state_dir) in " ".join(process.info["cmdline"] or ())
    ]
    loops = _run("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines()
    pools = str(state_dir / "shares")  # those of the share service are there as long as it runs
    return found + [f"loop device {line}" for line in loops if str(state_dir) in line and pools not in line]


def remove_machine(cloud: LibvirtCloud, name: str) -> None:
    """Remove a machine and the files of its disks, as its owner would. Already done: it is gone."""
    with closing(cloud.connect()) as connection, contextlib.suppress(libvirt.libvirtError):
        domain = connection.lookupByName(name)
        paths = [
            Path(element.get("file", "")) for element in ET.fromstring(domain.XMLDesc()).iterfind(".//disk/source")
        ]
        if domain.isActive():
            domain.destroy()
        domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA)
        for path in paths:
            path.unlink(missing_ok=True)
        connection.storagePoolLookupByName("default").refresh()


def sweep(cloud: LibvirtCloud) -> None:
    """Remove by force what `in_cloud` finds, so that the next round begins clean."""
    with closing(cloud.connect()) as connection:
        for domain in connection.listAllDomains():
            if domain.name().startswith("isthmus-"):
                domain.destroy()
        for path in [*cloud.pool_directory.iterdir(), *cloud.nbd_directory.iterdir()]:
            path.unlink(missing_ok=True)
        connection.storagePoolLookupByName("default").refresh()


def _of_domain(domain: Any) -> Iterator[str]:
    name = domain.name()
    if name.startswith("isthmus-"):
        yield f"domain {name}"
        return
    for checkpoint in domain.listAllCheckpoints():
        yield f"checkpoint {checkpoint.getName()} of {name}"
    if domain.isActive():
        with contextlib.suppress(libvirt.libvirtError):  # there is none
            domain.backupGetXMLDesc()
            yield f"backup job of {name}"


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
