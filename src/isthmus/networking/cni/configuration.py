"""What a network's configuration may say to us: the plugin's entry, with what the runtime adds to it.

A configuration that nobody reads to the end is dangerous: a mistyped `securityGroups` would attach a container without
its groups. So ADD and STATUS refuse every key that is not known (error 2). The other commands take no notice: what
is attached must be taken away whatever the file says by now.
"""

import re
from ipaddress import ip_interface
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from isthmus.networking import model
from isthmus.networking.cni.protocol import CniError, ErrorCode
from isthmus.networking.model import IpAddress, Protocol

RUNTIMES_KEYS = frozenset(
    {"cniVersion", "cniVersions", "name", "type", "capabilities", "disableCheck", "disableGC", "loadOnlyInlinedPlugins"}
)
"""Keys that every plugin's configuration may have and that are the runtime's affair."""
RESERVED_PREFIX = "cni.dev/"
MOST_BURST_BITS = 0xFFFFFFFF * 8
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_LONGEST_VALUE_SHOWN = 200


def parse_mac(text: str) -> str:
    """Return a unicast MAC address in lower case; ValueError for anything else."""
    found = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(found):
        raise ValueError("is no MAC address; write it as fa:16:3e:00:00:01")
    if int(found[:2], 16) & 1:
        raise ValueError("is a multicast address, which no interface can have")
    return found


def parse_address(text: str) -> str:
    """Return the address of "10.0.0.9" or "10.0.0.9/24"; ValueError for anything else."""
    try:
        return str(ip_interface(text.strip()).ip)
    except ValueError:
        raise ValueError("is no IP address; write it as 10.0.0.9, 10.0.0.9/24 or fd00::9") from None


def _parts_are_lists(result: dict[str, Any]) -> dict[str, Any]:
    for key in ("interfaces", "ips", "routes"):
        listed = result.get(key) or []
        if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
            raise ValueError(f"{key} is no list of objects")
    return result


MacAddress = Annotated[str, AfterValidator(parse_mac)]
AddressText = Annotated[str, AfterValidator(parse_address)]
Text = Annotated[str, Field(min_length=1, max_length=255)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True, frozen=True, extra="ignore")


class PortMapping(_Model):
    """An entry of the capability `portMappings`; a host port of 0 asks for nothing."""

    host_port: int = Field(0, ge=0, le=65535)
    container_port: int = Field(ge=1, le=65535)
    protocol: str = "tcp"
    host_ip: str = Field("", alias="hostIP")


class Bandwidth(_Model):
    """The capability `bandwidth`: bits a second and bits, from the container's view; 0 is no limit."""

    ingress_rate: int = Field(0, ge=0)
    ingress_burst: int = Field(0, ge=0, le=MOST_BURST_BITS)
    egress_rate: int = Field(0, ge=0)
    egress_burst: int = Field(0, ge=0, le=MOST_BURST_BITS)

    def limits(self) -> model.Bandwidth:
        """Return it in the model's form."""
        return model.Bandwidth(**self.model_dump())


class RuntimeDns(_Model):
    """The capability `dns`."""

    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []


class RuntimeConfiguration(_Model):
    """The capabilities that we act on."""

    mac: MacAddress | None = None
    ips: list[AddressText] = []
    port_mappings: list[PortMapping] = []
    bandwidth: Bandwidth | None = None
    dns: RuntimeDns | None = None


class ResultDns(_Model):
    """The configuration's `dns`, and that of a result."""

    nameservers: list[str] = []
    domain: str = ""
    search: list[str] = []
    options: list[str] = []


class _Labels(_Model):
    ips: list[AddressText] = []
    mac: MacAddress | None = None


class Arguments(_Model):
    """The configuration's `args`, of which we know the part `cni`."""

    cni: _Labels = _Labels()


class Attached(_Model):
    """An entry of `cni.dev/valid-attachments`."""

    container_id: Text = Field(alias="containerID")
    ifname: Text


class PluginConfiguration(_Model):
    """One plugin's entry of a network's configuration. `network` None means the network that is called `name`."""

    name: str
    network: Text | None = None
    project: Text | None = None
    subnets: list[Text] = []
    security_groups: list[Text] | None = None
    qos_policy: Text | None = None
    binder: Text | None = None
    default_route: bool | None = None
    agent_socket: str | None = None
    dns: ResultDns = ResultDns()
    ip_masq: Literal[False] = False
    ipam: dict[str, Any] = Field({}, max_length=0)
    args: Arguments = Arguments()
    runtime_config: RuntimeConfiguration = RuntimeConfiguration()
    prev_result: Annotated[dict[str, Any], AfterValidator(_parts_are_lists)] | None = None
    valid_attachments: list[Attached] | None = Field(None, alias="cni.dev/valid-attachments")

    @property
    def network_wanted(self) -> str:
        """The name or id of the Neutron network."""
        return self.network or self.name


def parse_configuration(document: dict[str, Any], *, every_key_known: bool) -> PluginConfiguration:
    """Return a configuration, or raise error 2 for what we do not do and error 7 for what is malformed."""
    if every_key_known:
        refuse_unknown(document)
    try:
        return PluginConfiguration.model_validate(document)
    except ValidationError as error:
        complaints = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {detail['msg'].removeprefix('Value error, ')}"
            for detail in error.errors(include_input=False, include_url=False, include_context=False)
        )
        details = f"network {document.get('name')}: {complaints}; correct its file in the runtime's conf directory"
        raise CniError(ErrorCode.INVALID_CONFIGURATION, details) from None


def refuse_unknown(document: dict[str, Any]) -> None:
    """Raise error 2 for the first key, of the entry or of `runtimeConfig`, that we do not act on."""
    known = RUNTIMES_KEYS | _keys_of(PluginConfiguration)
    for key, value in document.items():
        if key not in known and not key.startswith(RESERVED_PREFIX):
            raise _unsupported(key, value, "remove it, or see whether it is misspelt")
    if document.get("ipam"):
        raise _unsupported("ipam", document["ipam"], "remove it: addresses come from Neutron's subnets")
    if document.get("ipMasq"):
        raise _unsupported("ipMasq", document["ipMasq"], "remove it: a Neutron router translates addresses")
    capabilities = document.get("runtimeConfig")
    for key, value in capabilities.items() if isinstance(capabilities, dict) else ():
        if key not in _keys_of(RuntimeConfiguration):
            raise _unsupported(f"runtimeConfig.{key}", value, "take it out of the configuration's capabilities")


def _keys_of(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(field.alias or name for name, field in model.model_fields.items())


def _unsupported(key: str, value: object, step: str) -> CniError:
    shown = repr(value)
    if len(shown) > _LONGEST_VALUE_SHOWN:
        shown = f"{shown[:_LONGEST_VALUE_SHOWN]}…"
    return CniError(ErrorCode.UNSUPPORTED_FIELD, f"{key} = {shown} is not supported; {step}")


def protocol_of(mapping: PortMapping) -> Protocol:
    """Return a port mapping's protocol; error 7 for one that no port has."""
    try:
        return Protocol(mapping.protocol.lower())
    except ValueError:
        known = ", ".join(Protocol)
        details = f"portMappings has the protocol {mapping.protocol!r}; it must be one of {known}"
        raise CniError(ErrorCode.INVALID_CONFIGURATION, details) from None


def host_address_of(mapping: PortMapping) -> IpAddress | None:
    """Return the host's address of a port mapping, None for all; error 7 for what is no address."""
    try:
        found = ip_interface(mapping.host_ip).ip if mapping.host_ip else None
    except ValueError:
        details = f"portMappings has the hostIP {mapping.host_ip!r}, which is no address; leave it out for all"
        raise CniError(ErrorCode.INVALID_CONFIGURATION, details) from None
    return None if found is None or found.is_unspecified else found
