"""A call as it comes from the executable: CNI_* variables and standard input, parsed into one typed value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import orjson

from isthmus.networking.cni.configuration import (
    PluginConfiguration,
    parse_address,
    parse_configuration,
    parse_mac,
)
from isthmus.networking.cni.protocol import (
    FIRST_VERSION,
    NEWEST_VERSION,
    REQUIRED_VARIABLES,
    SUPPORTED_VERSIONS,
    CniError,
    Command,
    ErrorCode,
)
from isthmus.networking.model import IpAddress, Key, Owner

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]{0,127}")
"""What a network or a container may be called."""
_VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}")
_INTERFACE = re.compile(r"[^\s/:\x00-\x1f\x7f]{1,15}")
_SHOWN = 80


@dataclass(frozen=True)
class Call:
    """One call. `container_id`, `interface` and `netns` are empty where the command has none.

    `arguments` are those of CNI_ARGS, as their names and values stand there.
    """

    command: Command
    version: str
    configuration: PluginConfiguration
    container_id: str = ""
    interface: str = ""
    netns: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """The attachment's key."""
        return key_of(self.configuration.name, self.container_id, self.interface)

    @property
    def mac(self) -> str | None:
        """The MAC address that is demanded: by capability, else by `args`, else by CNI_ARGS."""
        configuration = self.configuration
        demanded = configuration.runtime_config.mac or configuration.args.cni.mac
        return demanded or self._argument("MAC", parse_mac)

    @property
    def addresses(self) -> tuple[IpAddress, ...]:
        """The addresses that are demanded: by capability, else by `args`, else by CNI_ARGS."""
        configuration = self.configuration
        demanded: list[str] = configuration.runtime_config.ips or configuration.args.cni.ips
        if not demanded and (single := self._argument("IP", parse_address)):
            demanded = [single]
        return tuple(ip_address(each) for each in dict.fromkeys(demanded))

    def _argument(self, name: str, parse: Any) -> str | None:
        text = self.arguments.get(name)
        if not text:
            return None
        try:
            return str(parse(text))
        except ValueError as error:
            raise CniError(ErrorCode.INVALID_ENVIRONMENT, f"CNI_ARGS: {name}={text[:_SHOWN]} {error}") from None


def key_of(network: str, container_id: str, interface: str) -> Key:
    """Return the key of an attachment: none of its parts can hold a slash."""
    return Key(Owner.CNI, f"{network}/{container_id}/{interface}")


def version_of(stdin: str) -> str:
    """Return the version to answer an error in, whatever else is wrong."""
    try:
        said = orjson.loads(stdin)["cniVersion"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return NEWEST_VERSION
    return said if isinstance(said, str) and _VERSION.fullmatch(said) else NEWEST_VERSION


def parse_call(environment: Mapping[str, str], stdin: str) -> Call:
    """Return the call, or raise the specification's error: 4 environment, 6 JSON, 7 configuration, 1 version."""
    command = _command(environment)
    required = REQUIRED_VARIABLES[command]
    missing = [name for name in required if not environment.get(name)]
    if missing:
        raise _environment(f"required env variables [{','.join(missing)}] missing")
    wanted = {name: environment[name] for name in required}
    if command is Command.DEL:
        wanted["CNI_NETNS"] = environment.get("CNI_NETNS", "")
    _check_variables(wanted)
    document = _document(stdin)
    version = _version(document, command)
    configuration = parse_configuration(document, every_key_known=command in {Command.ADD, Command.STATUS})
    return Call(
        command,
        version,
        configuration,
        container_id=wanted.get("CNI_CONTAINERID", ""),
        interface=wanted.get("CNI_IFNAME", ""),
        netns=wanted.get("CNI_NETNS", ""),
        arguments=_arguments(environment.get("CNI_ARGS", "")) if command is Command.ADD else {},
    )


def _command(environment: Mapping[str, str]) -> Command:
    said = environment.get("CNI_COMMAND", "")
    try:
        return Command(said)
    except ValueError:
        raise _environment(f"unknown CNI_COMMAND: {said[:_SHOWN]!r}") from None


def _check_variables(variables: Mapping[str, str]) -> None:
    container, interface, netns = (variables.get(f"CNI_{each}", "") for each in ("CONTAINERID", "IFNAME", "NETNS"))
    if container and not NAME.fullmatch(container):
        raise _environment(
            f"CNI_CONTAINERID: {container[:_SHOWN]!r} must be 1 to 128 letters, digits, '_', '.' or '-', "
            "of which the first is a letter or a digit"
        )
    if interface and (not _INTERFACE.fullmatch(interface) or len(interface.encode()) > 15 or interface in {".", ".."}):
        raise _environment(f"CNI_IFNAME: {interface[:_SHOWN]!r} must be 1 to 15 bytes without '/', ':' or a space")
    if netns and (not netns.startswith("/") or ".." in netns.split("/")):
        raise _environment(f"CNI_NETNS: {netns[:_SHOWN]!r} must be the absolute path of a network namespace")


def _document(stdin: str) -> dict[str, Any]:
    try:
        document = orjson.loads(stdin)
    except orjson.JSONDecodeError as error:
        raise CniError(ErrorCode.DECODING, f"the configuration on standard input is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise CniError(ErrorCode.DECODING, "the configuration on standard input is no JSON object")
    name = document.get("name")
    if not name:
        raise CniError(ErrorCode.INVALID_CONFIGURATION, "missing network name: give the configuration a `name`")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        shown = str(name)[:_SHOWN]
        details = f"name {shown!r} must be letters, digits, '_', '.' or '-', of which the first is a letter or a digit"
        raise CniError(ErrorCode.INVALID_CONFIGURATION, details)
    return document


def _version(document: dict[str, Any], command: Command) -> str:
    said = document.get("cniVersion", "0.1.0")  # the specification: a configuration without one is as old as that
    if not isinstance(said, str) or not _VERSION.fullmatch(said):
        raise CniError(ErrorCode.DECODING, f"cniVersion {str(said)[:_SHOWN]!r} is no version; write it as 1.1.0")
    if said not in SUPPORTED_VERSIONS:
        known = ", ".join(SUPPORTED_VERSIONS)
        raise CniError(ErrorCode.INCOMPATIBLE_VERSION, f"config is {said!r}, plugin supports {known}")
    first = FIRST_VERSION.get(command, SUPPORTED_VERSIONS[0])
    if SUPPORTED_VERSIONS.index(said) < SUPPORTED_VERSIONS.index(first):
        details = f"config version {said} does not allow {command}, which came with {first}; raise cniVersion"
        raise CniError(ErrorCode.INCOMPATIBLE_VERSION, details)
    return said


def _arguments(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, text.split(";")):
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise _environment(f"CNI_ARGS: {pair[:_SHOWN]!r} is no KEY=VALUE; separate them by ';'")
        found[name] = value
    return found


def _environment(details: str) -> CniError:
    return CniError(ErrorCode.INVALID_ENVIRONMENT, details)
