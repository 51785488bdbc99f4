"""Disks in the shape of a Windows guest's: NTFS, registry hives, and drivers with virtio-win's layout.

No Windows is in them, and none was ever started from what comes out: what is tested is what is written.
"""

import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import guestfs
import hivex

from isthmus.migration.morphing.acceleration import kvm_works
from isthmus.migration.morphing.contract import CommandResult, FileSystem, GuestDisks
from isthmus.migration.morphing.rooted_files import RootedFiles

NIC = "{11111111-AAAA-BBBB-CCCC-000000000001}"
OTHER_NIC = "{11111111-AAAA-BBBB-CCCC-000000000002}"
_CLASS = "{4D36E972-E325-11CE-BFC1-08002BE10318}"
SETTINGS = "ControlSet002"
Values = Mapping[str, Any]


def make_tree(root: Path, *, build: str = "20348", broken: bool = False) -> Path:
    """Lay out a Windows Server's directories, with names in the case that Windows gives them, and its registry."""
    config = root / "Windows/System32/Config"
    for directory in (config, root / "Windows/System32/drivers", root / "Windows/INF"):
        directory.mkdir(parents=True)
    write_hive(config / "SYSTEM", _system())
    write_hive(config / "SOFTWARE", _software(build, "Server"))
    if broken:
        (config / "SYSTEM").write_bytes(b"regf" + bytes(8192))
    return root


def make_empty_disk(directory: Path) -> Path:
    """Make a raw disk with one NTFS partition that holds nothing."""
    disk, image = directory / "disk.raw", directory / "ntfs.raw"
    size = 96 << 20
    for file, length in ((disk, size + (2 << 20)), (image, size)):
        with file.open("wb") as opened:
            opened.truncate(length)
    subprocess.run(["sfdisk", "-q", str(disk)], input="label: dos\n2048,,7,*\n", text=True, check=True)
    # 2048 sectors before it: NTFS knows where its partition begins.
    subprocess.run(["mkntfs", "-q", "-F", "-Q", "-p", "2048", "-H", "16", "-S", "63", str(image)], check=True)
    command = ["dd", f"if={image}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"]
    subprocess.run(command, check=True)
    image.unlink()
    return disk


def make_disk(directory: Path, tree: Path) -> Path:
    """Make a raw disk with one NTFS partition that holds a tree's files, put there by an appliance."""
    disk = make_empty_disk(directory)
    g = guestfs.GuestFS(python_return_dict=True, close_on_exit=False)
    g.set_backend("direct")
    g.set_backend_setting("force_kvm" if kvm_works() else "force_tcg", "1")
    g.add_drive_opts(str(disk), format="raw")
    g.launch()
    g.mount("/dev/sda1", "/")
    g.copy_in(str(tree / "Windows"), "/")
    g.shutdown()
    g.close()
    return disk


def make_drivers(directory: Path) -> Path:
    """Make a directory with virtio-win's layout."""
    for name, folder in (("viostor", "viostor"), ("vioscsi", "vioscsi"), ("netkvm", "NetKVM"), ("balloon", "Balloon")):
        place = directory / folder / "2k22" / "amd64"
        place.mkdir(parents=True)
        (place / f"{name}.inf").write_text("[Version]\r\nDriverVer = 06/23/2022,100.90.104.21500\r\n")
        for ending in ("sys", "cat"):
            (place / f"{name}.{ending}").write_text(f"{name} {ending}")
    return directory


def make_iso(drivers: Path, iso: Path) -> Path:
    """Make an ISO image of a directory."""
    subprocess.run(["bsdtar", "-c", "--format=iso9660", "-f", str(iso), "-C", str(drivers), "."], check=True)
    return iso


def write_hive(path: Path, keys: Mapping[str, Values]) -> None:
    """Write a registry hive that holds these keys with their values: text, number, or a list of texts."""
    path.write_bytes(_empty_hive())
    hive = hivex.Hivex(str(path), write=True)
    for key, values in keys.items():
        node = hive.root()
        for name in key.split("\\"):
            node = hive.node_get_child(node, name) or hive.node_add_child(node, name)
        hive.node_set_values(node, [_value(name, value) for name, value in values.items()])
    hive.commit(None)


def read_hive(path: Path, key: str) -> dict[str, Any]:
    """Return a key's values."""
    hive = hivex.Hivex(str(path))
    node = hive.root()
    for name in key.split("\\"):
        node = hive.node_get_child(node, name)
        assert node, f"no {name} of {key}"
    found: dict[str, Any] = {}
    for value in hive.node_values(node):
        kind, content = hive.value_value(value)
        texts = [text for text in content.decode("utf-16-le", errors="replace").split("\0") if text]
        found[hive.value_key(value)] = (
            int.from_bytes(content, "little")
            if kind == 4
            else content
            if kind == 3
            else texts
            if kind == 7
            else texts[0]
        )
    return found


def _value(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, int):
        return {"key": name, "t": 4, "value": struct.pack("<I", value)}
    if isinstance(value, list):
        return {"key": name, "t": 7, "value": "".join(f"{each}\0" for each in [*value, ""]).encode("utf-16-le")}
    return {"key": name, "t": 1, "value": f"{value}\0".encode("utf-16-le")}


def _software(build: str, kind: str) -> dict[str, Values]:
    return {
        "Microsoft\\Windows NT\\CurrentVersion": {
            "ProductName": "Windows Server 2022 Standard",
            "CurrentBuildNumber": build,
            "InstallationType": kind,
        },
        "Microsoft\\Windows\\CurrentVersion": {"DevicePath": "%SystemRoot%\\inf"},
    }


def _system() -> dict[str, Values]:
    interfaces = f"{SETTINGS}\\Services\\Tcpip\\Parameters\\Interfaces"
    return {
        "Select": {"Current": 2, "Default": 2},
        "ControlSet001\\Services\\VMTools": {"Start": 2},
        f"{SETTINGS}\\Control\\Session Manager\\Environment": {"PROCESSOR_ARCHITECTURE": "AMD64"},
        f"{SETTINGS}\\Services\\VMTools": {"Start": 2, "ImagePath": "vmtoolsd.exe"},
        f"{SETTINGS}\\Services\\cloudbase-init": {"Start": 2},
        f"{SETTINGS}\\Services\\storahci": {"Start": 3},
        f"{SETTINGS}\\Services\\storahci\\StartOverride": {"0": 3},
        f"{interfaces}\\{NIC}": {
            "EnableDHCP": 0,
            "IPAddress": ["10.0.0.5"],
            "SubnetMask": ["255.255.255.0"],
            "DefaultGateway": ["10.0.0.1"],
            "NameServer": "10.0.0.2,10.0.0.3",
        },
        f"{interfaces}\\{OTHER_NIC}": {"EnableDHCP": 1},
        f"{SETTINGS}\\Control\\Network\\{_CLASS}\\{NIC}\\Connection": {
            "Name": "O'Brien's LAN",
            "PnpInstanceID": "PCI\\VEN_15AD&DEV_07B0\\A",
        },
        f"{SETTINGS}\\Control\\Network\\{_CLASS}\\{OTHER_NIC}\\Connection": {
            "Name": "Second",
            "PnpInstanceID": "PCI\\VEN_15AD&DEV_07B0\\B",
        },
        "DriverDatabase": {"Version": 1},
    }


def _empty_hive() -> bytes:
    """Return a hive with an empty root key: no package ships one. The layout is that of [regf] 1.3."""
    nil = 0xFFFFFFFF
    name = b"ROOT"
    security = bytes.fromhex("010004800000000000000000000000001400000002000800000000000000")
    key_bytes = (4 + 76 + len(name) + 7) & ~7
    owner = 0x20 + key_bytes
    key = struct.pack("<HqIIIIIIIIII", 0x2C, 0, 0, nil, 0, 0, nil, nil, 0, nil, owner, nil)
    key = b"nk" + key + struct.pack("<IIIIIHH", 0, 0, 0, 0, 0, len(name), 0) + name
    lock = b"sk" + struct.pack("<HIIII", 0, owner, owner, 1, len(security)) + security
    body = b"hbin" + struct.pack("<IIQQI", 0, 4096, 0, 0, 0) + _cell(key) + _cell(lock)
    free = 4096 - len(body)
    body += struct.pack("<i", free) + bytes(free - 4)
    head = bytearray(4096)
    head[:4] = b"regf"
    struct.pack_into("<IIqIIIIIII", head, 4, 1, 1, 0, 1, 3, 0, 1, 0x20, 4096, 1)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", bytes(head[:508])):
        checksum ^= word
    struct.pack_into("<I", head, 508, checksum)
    return bytes(head) + body


def _cell(content: bytes) -> bytes:
    size = (len(content) + 4 + 7) & ~7
    return struct.pack("<i", -size) + content.ljust(size - 4, b"\0")


class DirectoryGuest(GuestDisks):
    """A way in over a directory of this machine: files as the worker's kernel reaches them, and no disk below them."""

    def __init__(self, root: Path) -> None:
        self.files = RootedFiles(str(root))
        self.sector = bytes(510) + b"\x55\xaa"

    def close(self) -> None:
        self.files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, path: str) -> str | None:
        return self.files.read(path)

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        self.files.write(path, content, mode)

    def remove(self, path: str) -> bool:
        return self.files.remove(path)

    def exists(self, path: str) -> bool:
        return self.files.exists(path)

    def download(self, path: str, destination: Path, largest: int) -> None:
        self.files.download(path, str(destination), largest)

    def upload(self, source: Path, path: str) -> None:
        self.files.upload(str(source), path)

    def list_directory(self, path: str) -> Sequence[str]:
        return self.files.list_directory(path)

    def link(self, path: str, target: str) -> None:
        self.files.link(path, target)

    def run(self, command: Sequence[str], *, timeout_seconds: int, stdin: str = "") -> CommandResult:
        raise AssertionError("nothing of a Windows guest's is run")

    def file_systems(self) -> Sequence[FileSystem]:
        return [FileSystem("/dev/none", "ntfs", "1", "", 0, 1, "/")]

    def check(self, file_system: FileSystem) -> None:
        return

    def mount(self, file_system: FileSystem, mount_point: str, *, subvolume: str = "") -> None:
        return

    def unmount_all(self) -> None:
        return

    def run_before_mount(self, script: str, *, timeout_seconds: int) -> CommandResult:
        raise AssertionError("no disk is here")

    def read_disk(self, disk_index: int, offset: int, length: int) -> bytes:
        return self.sector[offset : offset + length]

    def esp_exists(self, file_system: FileSystem, path: str) -> bool:
        return False

    def esp_read(self, file_system: FileSystem, path: str) -> str | None:
        return None

    def esp_write(self, file_system: FileSystem, path: str, content: str) -> None:
        raise AssertionError("no disk is here")

    def esp_copy(self, file_system: FileSystem, source: str, destination: str) -> None:
        raise AssertionError("no disk is here")


def started_services(image: Path) -> dict[str, int]:
    """Return when Windows on a VHDX starts its SATA driver and the source's agents: 0 with the kernel, 4 never."""
    g = guestfs.GuestFS(python_return_dict=True, close_on_exit=False)
    g.set_backend("direct")
    g.set_backend_setting("force_kvm" if kvm_works() else "force_tcg", "1")
    g.add_drive_opts(str(image), format="vhdx", readonly=True)
    g.launch()
    g.mount_ro("/dev/sda1", "/")
    hive = image.with_suffix(".hive")
    g.download("/Windows/System32/Config/SYSTEM", str(hive))
    g.close()
    return {name: int(read_hive(hive, f"{SETTINGS}\\Services\\{name}")["Start"]) for name in ("storahci", "VMTools")}
