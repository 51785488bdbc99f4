"""The options a user gives: `-o` and `--ipam-opt` of a network, `--driver-opt` of an endpoint.

`neutron.*` are kuryr-libnetwork's own, with its meaning; `isthmus.*` are added. An unknown `isthmus.*` or `neutron.*`
key is refused, as a misspelt one would otherwise put a container on the wrong network in silence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from isthmus.control.errors import InvalidInput
from isthmus.control.http import check_text
from isthmus.networking.libnetwork.messages import generic_options
from isthmus.networking.model import Protocol, PublishedPort

_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no", ""})

PROJECT = "isthmus.project"
SECURITY_GROUPS = "isthmus.security_groups"
QOS_POLICY = "isthmus.qos_policy"
EXPOSE = "isthmus.expose"
MTU = "com.docker.network.driver.mtu"

_POOL_KEYS = frozenset(
    f"neutron.{kind}.{family}{attribute}"
    for kind in ("subnet", "pool")
    for family in ("", "v6.")
    for attribute in ("name", "uuid")
)
_NETWORK_KEYS = frozenset({"neutron.net.name", "neutron.net.uuid", "neutron.net.shared", PROJECT})
_ENDPOINT_KEYS = frozenset({SECURITY_GROUPS, QOS_POLICY, EXPOSE})
_PROTOCOLS = {6: Protocol.TCP, 17: Protocol.UDP, 132: Protocol.SCTP}


@dataclass(frozen=True)
class PoolOptions:
    """Options that choose a pool. Objects are named by id or name."""

    project: str | None = None
    network: str | None = None
    subnet: str | None = None
    subnet_pool: str | None = None
    shared: bool | None = None


@dataclass(frozen=True)
class EndpointOptions:
    """Options of an endpoint. None is not said: the network's hold."""

    security_groups: tuple[str, ...] | None = None
    qos_policy: str | None = None
    expose: bool | None = None


@dataclass(frozen=True)
class NetworkOptions:
    """Options of a network; `endpoint` are the defaults of its endpoints, `mtu` is in bytes."""

    project: str | None = None
    network: str | None = None
    shared: bool | None = None
    subnet: str | None = None
    subnet_v6: str | None = None
    subnet_pool: str | None = None
    subnet_pool_v6: str | None = None
    mtu: int | None = None
    internal: bool = False
    endpoint: EndpointOptions = EndpointOptions()


@dataclass(frozen=True)
class ExposedPort:
    """A port that the image or `--expose` names."""

    protocol: Protocol
    port: int


def pool_options(options: Mapping[str, Any], *, ipv6: bool) -> PoolOptions:
    """Return the `--ipam-opt` options of a pool of one family; `InvalidInput`."""
    given = _known(options, _POOL_KEYS | _NETWORK_KEYS, "--ipam-opt")
    family = "v6." if ipv6 else ""
    return PoolOptions(
        project=given.get(PROJECT),
        network=_object(given, "neutron.net."),
        subnet=_object(given, f"neutron.subnet.{family}"),
        subnet_pool=_object(given, f"neutron.pool.{family}"),
        shared=_flag(given, "neutron.net.shared"),
    )


def network_options(options: Mapping[str, Any]) -> NetworkOptions:
    """Return the options of a network as CreateNetwork has them; `InvalidInput`."""
    given = _known(generic_options(options), _POOL_KEYS | _NETWORK_KEYS | _ENDPOINT_KEYS, "-o")
    return NetworkOptions(
        project=given.get(PROJECT),
        network=_object(given, "neutron.net."),
        shared=_flag(given, "neutron.net.shared"),
        subnet=_object(given, "neutron.subnet."),
        subnet_v6=_object(given, "neutron.subnet.v6."),
        subnet_pool=_object(given, "neutron.pool."),
        subnet_pool_v6=_object(given, "neutron.pool.v6."),
        mtu=_mtu(given.get(MTU)),
        internal=_truth(options.get("com.docker.network.internal", False), "internal"),
        endpoint=_endpoint(given),
    )


def endpoint_options(options: Mapping[str, Any]) -> EndpointOptions:
    """Return the `--driver-opt` options of an endpoint; Docker puts them beside its own."""
    inner = {**{key: value for key, value in options.items() if isinstance(value, str)}, **generic_options(options)}
    return _endpoint(_known(inner, _ENDPOINT_KEYS, "--driver-opt"))


def published_ports(options: Mapping[str, Any]) -> tuple[PublishedPort, ...]:
    """Return what `-p` asks for, of a range the first port.

    Without a port of the host (`-P`) nothing is published: Docker shows no port that another driver chose.
    """
    found = []
    for each in _entries(options, "com.docker.network.portmap"):
        protocol, container_port = _protocol(each.get("Proto")), _port(each.get("Port"))
        host, host_port = str(each.get("HostIP") or ""), _port(each.get("HostPort") or 0)
        if host_port:
            # Any address is said in several ways.
            address = None if host in {"", "0.0.0.0", "::"} else ip_address(host)  # noqa: S104
            found.append(PublishedPort(protocol, container_port, host_port, address))
    return tuple(found)


def exposed_ports(options: Mapping[str, Any]) -> tuple[ExposedPort, ...]:
    """Return the ports that the image or `--expose` names, in order and each once."""
    entries = _entries(options, "com.docker.network.endpoint.exposedports")
    found = {ExposedPort(_protocol(each.get("Proto")), _port(each.get("Port"))) for each in entries}
    return tuple(sorted(found, key=lambda each: (each.protocol, each.port)))


def _endpoint(given: Mapping[str, str]) -> EndpointOptions:
    groups = given.get(SECURITY_GROUPS)
    return EndpointOptions(
        security_groups=None if groups is None else tuple(filter(None, map(str.strip, groups.split(",")))),
        qos_policy=given.get(QOS_POLICY) or None,
        expose=_flag(given, EXPOSE),
    )


def _known(options: Mapping[str, Any], known: frozenset[str], where: str) -> dict[str, str]:
    for key in options:
        if key.startswith(("neutron.", "isthmus.")) and key not in known:
            raise InvalidInput(f"{where} {key} is not known; it may be one of {', '.join(sorted(known))}")
    given = {key: str(value) for key, value in options.items()}
    for key, value in given.items():
        check_text(value, f"{where} {key}")
    return given


def _object(given: Mapping[str, str], prefix: str) -> str | None:
    """Return an object's id or name; the id wins, as in Kuryr."""
    return given.get(f"{prefix}uuid") or given.get(f"{prefix}name") or None


def _flag(given: Mapping[str, str], key: str) -> bool | None:
    return _truth(given[key], key) if key in given else None


def _truth(value: object, key: str) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise InvalidInput(f"{key}={value} is neither true nor false; write true or false")


def _mtu(text: str | None) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or not 68 <= int(text) <= 65535:
        raise InvalidInput(f"{MTU}={text} is no MTU; give a number of bytes from 68 to 65535")
    return int(text)


def _entries(options: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    entries = options.get(key) or []
    if not isinstance(entries, list) or not all(isinstance(each, Mapping) for each in entries):
        raise InvalidInput(f"{key} is no list of ports; this engine speaks another protocol than libnetwork's")
    return entries


def _protocol(number: object) -> Protocol:
    found = _PROTOCOLS.get(number if isinstance(number, int) else -1)
    if found is None:
        raise InvalidInput(f"protocol {number} cannot be published or exposed; use tcp, udp or sctp")
    return found


def _port(number: object) -> int:
    if isinstance(number, int) and 0 <= number <= 65535:
        return number
    raise InvalidInput(f"{number} is no port; give a number from 0 to 65535")
