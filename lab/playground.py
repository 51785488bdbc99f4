"""Two clouds and a machine to try Isthmus with: `python -m lab.playground [DIRECTORY]`, until Ctrl-C.

It makes the libvirt clouds `east` and `west`, starts a tiny guest named `web1` in east, and writes the connection
details for `isthmus endpoint create` next to them. Everything is gone when it ends. Needs root, as the clouds do.
"""

import contextlib
import json
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.clouds import LibvirtCloud
from lab.tiny_guest import TinyGuest, build_disks, domain_xml

MACHINE = "web1"
DEFAULT_DIRECTORY = Path("/tmp/isthmus-playground")


@dataclass(frozen=True)
class Playground:
    """Two running clouds; `east` has the machine. The files hold connection details as JSON."""

    east: LibvirtCloud
    west: LibvirtCloud
    east_file: Path
    west_file: Path


@contextlib.contextmanager
def playground(directory: Path) -> Iterator[Playground]:
    """Make the clouds below `directory`, which must not hold anything else, and start the machine in east."""
    with contextlib.ExitStack() as stack:
        directory.mkdir(parents=True)
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        clouds: list[LibvirtCloud] = []
        files: list[Path] = []
        for name in ("east", "west"):
            clouds.append(stack.enter_context(LibvirtCloud(name, directory / name)))
            files.append(directory / f"{name}.json")
            files[-1].write_text(json.dumps(clouds[-1].connection, indent=2) + "\n")
        guest = TinyGuest()
        disks = build_disks(clouds[0].pool_directory, guest, name=MACHINE)
        connection = clouds[0].connect()
        try:
            connection.defineXML(domain_xml(MACHINE, disks, guest.format)).create()
        finally:
            connection.close()
        yield Playground(clouds[0], clouds[1], files[0], files[1])


def main() -> int:
    """Run the playground until it is interrupted."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_DIRECTORY
    if directory.exists():
        print(f"playground: {directory} exists already; another one runs there, or remove it", file=sys.stderr)
        return 1
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with playground(directory) as made:
        print(f"machine {MACHINE} runs in east. In another shell:\n")
        for name, file in (("east", made.east_file), ("west", made.west_file)):
            print(f"isthmus endpoint create --provider libvirt --name {name} --connection {file}")
        print("\nCtrl-C ends the clouds and removes them.", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
