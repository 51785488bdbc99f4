"""The options of a btrfs back end: its section of the configuration, read once into typed values."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus.control.errors import InvalidInput

DEFAULT_STATE = "/var/lib/isthmus/shares"
SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_ADDRESS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True)
class NfsOptions:
    """Where NFS-Ganesha is: its bus, the directory of exports that its configuration includes, how clients reach it."""

    bus: str
    exports: Path
    addresses: tuple[str, ...]
    port: int
    versions: tuple[int, ...]
    squash: str


@dataclass(frozen=True)
class SmbOptions:
    """Where Samba is: its `smb.conf`, and how clients reach it. `check_users`: rules for unknown users are errors."""

    configuration: Path
    addresses: tuple[str, ...]
    port: int
    check_users: bool


@dataclass(frozen=True)
class Options:
    """All of one back end. `directory` lies on a btrfs; with an `image` that is mounted there by the driver."""

    pool: str
    directory: Path
    image: Path | None
    image_gib: int
    state: Path
    root_mode: int
    thin: bool
    over_subscription: float
    reserved_percentage: float
    reserved_snapshot_percentage: float | None
    reserved_extend_percentage: float | None
    nfs: NfsOptions | None
    smb: SmbOptions | None


def read_options(name: str, given: Mapping[str, Any]) -> Options:
    """Return typed options; raises InvalidInput that names the back end and the option."""
    section = _Section(name, given)
    state = section.path("state_dir", Path(DEFAULT_STATE) / name)
    directory = section.path("directory", None) if given.get("directory") else None
    image = section.path("image", state / "pool.img") if given.get("image") or directory is None else None
    if directory and image:
        raise InvalidInput(f"back end {name} has both `directory` and `image`: keep one of them")
    options = Options(
        pool=section.text("pool_name", "pool"),
        directory=directory or state / "pool",
        image=image,
        image_gib=section.whole("image_gib", 10, least=1),
        state=state,
        root_mode=section.mode("share_mode", "0777"),
        thin=section.switch("thin_provisioning", True),
        over_subscription=section.number("max_over_subscription_ratio", 20.0, least=1.0),
        reserved_percentage=section.number("reserved_share_percentage", 0.0),
        reserved_snapshot_percentage=section.number_if_given("reserved_share_from_snapshot_percentage"),
        reserved_extend_percentage=section.number_if_given("reserved_share_extend_percentage"),
        nfs=_nfs(section, given),
        smb=_smb(section, given),
    )
    if not options.nfs and not options.smb:
        raise InvalidInput(f"back end {name} serves nothing: set `ganesha_exports`, `samba_config` or both")
    return options


def _nfs(section: "_Section", given: Mapping[str, Any]) -> NfsOptions | None:
    if not given.get("ganesha_exports"):
        return None
    versions = tuple(int(each) for each in section.words("nfs_versions", "4", ("3", "4")))
    return NfsOptions(
        bus=section.text("ganesha_bus", SYSTEM_BUS),
        exports=section.path("ganesha_exports", None),
        addresses=section.addresses("nfs_address"),
        port=section.whole("nfs_port", 2049, least=1, most=65535),
        versions=versions,
        squash=section.words("nfs_squash", "none", ("none", "root", "all"))[0],
    )


def _smb(section: "_Section", given: Mapping[str, Any]) -> SmbOptions | None:
    if not given.get("samba_config"):
        return None
    return SmbOptions(
        configuration=section.path("samba_config", None),
        addresses=section.addresses("smb_address"),
        port=section.whole("smb_port", 445, least=1, most=65535),
        check_users=section.switch("samba_check_users", True),
    )


class _Section:
    """Reads one value at a time; every error names the back end and the option."""

    def __init__(self, name: str, given: Mapping[str, Any]) -> None:
        self._name = name
        self._given = given

    def text(self, option: str, default: str) -> str:
        return str(self._given.get(option) or default).strip()

    def path(self, option: str, default: Path | None) -> Path:
        path = Path(self.text(option, str(default or "")))
        if not path.is_absolute() or any(each in str(path) for each in '"%\n'):
            raise self._wrong(option, "must be an absolute path without quotes and percent signs")
        return path

    def number(self, option: str, default: float, *, least: float = 0.0) -> float:
        try:
            value = float(self.text(option, str(default)))
        except ValueError as error:
            raise self._wrong(option, "must be a number") from error
        if not least <= value < float("inf"):
            raise self._wrong(option, f"must be at least {least:g}")
        return value

    def number_if_given(self, option: str) -> float | None:
        return self.number(option, 0.0) if self._given.get(option) else None

    def whole(self, option: str, default: int, *, least: int, most: int = 1 << 30) -> int:
        value = self.number(option, default, least=least)
        if value != int(value) or value > most:
            raise self._wrong(option, f"must be a whole number of {least} to {most}")
        return int(value)

    def switch(self, option: str, default: bool) -> bool:
        value = self.text(option, str(default)).lower()
        if value not in _TRUE + _FALSE:
            raise self._wrong(option, "must be true or false")
        return value in _TRUE

    def mode(self, option: str, default: str) -> int:
        value = self.text(option, default)
        if not re.fullmatch(r"0?[0-7]{3}", value):
            raise self._wrong(option, "must be three octal digits, as 0755")
        return int(value, 8)

    def words(self, option: str, default: str, known: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(sorted({each.strip() for each in self.text(option, default).split(",")}))
        if not set(found) <= set(known):
            raise self._wrong(option, f"knows only {', '.join(known)}")
        return found

    def addresses(self, option: str) -> tuple[str, ...]:
        found = tuple(each.strip() for each in self.text(option, "127.0.0.1").split(","))
        for address in found:
            if not _ADDRESS.fullmatch(address) and not _is_ip(address):
                raise self._wrong(option, "must be host names or addresses, separated by commas")
        return found

    def _wrong(self, option: str, rule: str) -> InvalidInput:
        return InvalidInput(f"`{option}` of back end {self._name} {rule}; it is {self._given.get(option)!r}")


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
