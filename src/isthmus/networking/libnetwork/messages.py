"""What Docker sends and wants back, in the protocol's own words.

Source: libnetwork's docs/remote.md and docs/ipam.md, and moby's `drivers/remote/api` and `ipams/remote/api`. Keys that
a newer engine adds are ignored, as the protocol asks. Go writes an absent list or map as null.
"""

from collections.abc import Mapping
from ipaddress import ip_interface, ip_network
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from isthmus.networking.model import IpAddress, IpNetwork

Answer = dict[str, Any]


def _address(text: object) -> IpAddress | None:
    """Return the address of "10.0.0.5/24" or "10.0.0.5"; None for nothing."""
    return ip_interface(str(text)).ip if text else None


def _network(text: object) -> IpNetwork | None:
    """Return the network of a CIDR, which may name a host in it; None for nothing."""
    return ip_network(str(text), strict=False) if text else None


def _or_empty(value: object) -> object:
    return {} if value is None else value


def _or_none_left(value: object) -> object:
    return [] if value is None else value


Address = Annotated[IpAddress | None, BeforeValidator(_address)]
Cidr = Annotated[IpNetwork | None, BeforeValidator(_network)]
Options = Annotated[dict[str, Any], BeforeValidator(_or_empty)]
Addresses = Annotated[dict[str, Address], BeforeValidator(_or_empty)]
Id = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-.0-~]+$")]
PoolText = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[!-~]+$")]


class Message(BaseModel):
    """Base of all requests."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Empty(Message):
    """A request without content."""


class IpamData(Message):
    """A pool of a network, its gateway and the addresses that containers must not get."""

    address_space: str = Field("", alias="AddressSpace")
    pool: Cidr = Field(None, alias="Pool")
    gateway: Address = Field(None, alias="Gateway")
    aux_addresses: Addresses = Field(default_factory=dict, alias="AuxAddresses")


Pools = Annotated[list[IpamData], BeforeValidator(_or_none_left)]


class CreateNetwork(Message):
    """CreateNetwork, and AllocateNetwork of swarm's manager."""

    network_id: Id = Field(alias="NetworkID")
    options: Options = Field(default_factory=dict, alias="Options")
    ipv4: Pools = Field(default_factory=list, alias="IPv4Data")
    ipv6: Pools = Field(default_factory=list, alias="IPv6Data")


class OneNetwork(Message):
    """DeleteNetwork, FreeNetwork."""

    network_id: Id = Field(alias="NetworkID")


class GatewayCheck(Message):
    """GwAllocCheck: must the engine ask for a gateway's address for a network of these options?"""

    options: Options = Field(default_factory=dict, alias="Options")


class Interface(Message):
    """Addresses that the engine chose; what is empty is for the driver to choose."""

    address: Address = Field(None, alias="Address")
    address_ipv6: Address = Field(None, alias="AddressIPv6")
    mac_address: str = Field("", alias="MacAddress", pattern=r"^([0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5})?$")

    @property
    def addresses(self) -> tuple[IpAddress, ...]:
        """The addresses given, IPv4 first."""
        return tuple(each for each in (self.address, self.address_ipv6) if each is not None)


class OneEndpoint(Message):
    """Leave, DeleteEndpoint, EndpointOperInfo, RevokeExternalConnectivity."""

    network_id: Id = Field(alias="NetworkID")
    endpoint_id: Id = Field(alias="EndpointID")


class CreateEndpoint(OneEndpoint):
    """CreateEndpoint."""

    interface: Annotated[Interface, BeforeValidator(_or_empty)] = Field(default_factory=Interface, alias="Interface")
    options: Options = Field(default_factory=dict, alias="Options")


class Join(OneEndpoint):
    """Join, and ProgramExternalConnectivity (which has no sandbox)."""

    sandbox_key: str = Field("", alias="SandboxKey")
    options: Options = Field(default_factory=dict, alias="Options")


class RequestPool(Message):
    """RequestPool."""

    address_space: str = Field("", alias="AddressSpace")
    pool: Cidr = Field(None, alias="Pool")
    sub_pool: Cidr = Field(None, alias="SubPool")
    options: Options = Field(default_factory=dict, alias="Options")
    ipv6: bool = Field(False, alias="V6")


class ReleasePool(Message):
    """ReleasePool."""

    pool_id: PoolText = Field(alias="PoolID")


class RequestAddress(Message):
    """RequestAddress: an address of a pool, or any."""

    pool_id: PoolText = Field(alias="PoolID")
    address: Address = Field(None, alias="Address")
    options: Options = Field(default_factory=dict, alias="Options")

    @property
    def for_gateway(self) -> bool:
        """Whether the address is for the network's gateway."""
        return self.options.get("RequestAddressType") == "com.docker.network.gateway"


class ReleaseAddress(Message):
    """ReleaseAddress."""

    pool_id: PoolText = Field(alias="PoolID")
    address: Address = Field(alias="Address")


def generic_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's own `-o` options of a network: Docker puts them a level down."""
    inner = options.get("com.docker.network.generic")
    return dict(inner) if isinstance(inner, Mapping) else {}
