"""What comes from a runtime is one typed call, or the specification's error."""

import json
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic.alias_generators import to_camel

from isthmus.networking.cni.calls import Call, parse_call, version_of
from isthmus.networking.cni.configuration import PluginConfiguration
from isthmus.networking.cni.protocol import SUPPORTED_VERSIONS, CniError, ErrorCode
from isthmus.networking.model import Key, Owner

ADD = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c0ffee",
    "CNI_NETNS": "/run/netns/x",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}


def configuration(**keys: Any) -> str:
    return json.dumps({"cniVersion": "1.1.0", "name": "blue", "type": "isthmus-cni", **keys})


def add(environment: dict[str, str] | None = None, **keys: Any) -> Call:
    return parse_call({**ADD, **(environment or {})}, configuration(**keys))


def refused(environment: dict[str, str], stdin: str) -> CniError:
    with pytest.raises(CniError) as caught:
        parse_call(environment, stdin)
    return caught.value


def test_an_attachment_is_known_by_network_container_and_interface() -> None:
    call = add()

    assert call.key == Key(Owner.CNI, "blue/c0ffee/eth0")
    assert call.configuration.network_wanted == "blue"
    assert add(network="tenant-net").configuration.network_wanted == "tenant-net"


@pytest.mark.parametrize("name", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])
def test_a_missing_variable_is_named(name: str) -> None:
    error = refused({key: value for key, value in ADD.items() if key != name}, configuration())

    assert error.number is ErrorCode.INVALID_ENVIRONMENT
    assert name in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CNI_COMMAND", "VERSION"),
        ("CNI_COMMAND", "add"),
        ("CNI_CONTAINERID", "../../etc"),
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_CONTAINERID", "-a"),
        ("CNI_CONTAINERID", "a" * 129),
        ("CNI_IFNAME", "sixteen-letters-"),
        ("CNI_IFNAME", "été-été-été-été"),
        ("CNI_IFNAME", ".."),
        ("CNI_IFNAME", "a/b"),
        ("CNI_IFNAME", "a b"),
        ("CNI_NETNS", "netns"),
        ("CNI_NETNS", "/run/netns/../../etc/passwd"),
        ("CNI_ARGS", "no pair"),
        ("CNI_ARGS", "=x"),
    ],
)
def test_a_wrong_variable_is_refused_by_name(name: str, value: str) -> None:
    error = refused({**ADD, name: value}, configuration())

    assert error.number is ErrorCode.INVALID_ENVIRONMENT
    assert name in error.message


def test_del_needs_no_namespace() -> None:
    environment = {key: value for key, value in ADD.items() if key != "CNI_NETNS"} | {"CNI_COMMAND": "DEL"}

    assert parse_call(environment, configuration()).netns == ""


@pytest.mark.parametrize("stdin", ["", "{", "[]", "null", '"x"', '{"name": "blue"', "[" * 100_000])
def test_what_is_no_json_object_cannot_be_decoded(stdin: str) -> None:
    assert refused(ADD, stdin).number is ErrorCode.DECODING


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "1.2.0", "2.0.0", "99.0.0"])
def test_another_version_is_incompatible(version: str) -> None:
    assert refused(ADD, configuration(cniVersion=version)).number is ErrorCode.INCOMPATIBLE_VERSION


def test_a_configuration_without_a_version_is_an_old_one() -> None:
    assert refused(ADD, '{"name": "blue", "type": "x"}').number is ErrorCode.INCOMPATIBLE_VERSION


@pytest.mark.parametrize("version", [1, "", "one", "1.1", "1.1.0.0", None])
def test_what_is_no_version_cannot_be_decoded(version: object) -> None:
    assert refused(ADD, configuration(cniVersion=version)).number is ErrorCode.DECODING


@pytest.mark.parametrize(
    ("command", "version"), [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0"), ("GC", "0.4.0")]
)
def test_a_command_is_refused_before_the_version_that_brought_it(command: str, version: str) -> None:
    error = refused({**ADD, "CNI_COMMAND": command}, configuration(cniVersion=version))

    assert error.number is ErrorCode.INCOMPATIBLE_VERSION
    assert command in error.message


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
def test_every_supported_version_is_taken(version: str) -> None:
    assert parse_call(ADD, configuration(cniVersion=version)).version == version


@pytest.mark.parametrize("name", ["", None, "a/b", "../x", "-x", 7, "a" * 200])
def test_a_wrong_name_of_a_network_is_refused(name: object) -> None:
    assert refused(ADD, configuration(name=name)).number is ErrorCode.INVALID_CONFIGURATION


@pytest.mark.parametrize(
    ("key", "value"),
    [("securityGroup", "web"), ("ipam", {"type": "host-local"}), ("ipMasq", True), ("bridge", "cni0"), ("mtu", 9000)],
)
def test_a_key_that_is_not_acted_on_is_told_with_its_value(key: str, value: object) -> None:
    error = refused(ADD, configuration(**{key: value}))

    assert error.number is ErrorCode.UNSUPPORTED_FIELD
    assert key in error.message
    assert repr(value) in error.message


def test_a_capability_that_is_not_acted_on_is_refused() -> None:
    error = refused(ADD, configuration(runtimeConfig={"deviceID": "0000:04:00.5"}))

    assert error.number is ErrorCode.UNSUPPORTED_FIELD
    assert "runtimeConfig.deviceID" in error.message


def test_what_is_attached_can_be_removed_whatever_the_file_says_by_now() -> None:
    assert parse_call({**ADD, "CNI_COMMAND": "DEL"}, configuration(bridge="cni0")).key.id == "blue/c0ffee/eth0"


def test_empty_ipam_and_no_masquerading_are_what_we_do_anyway() -> None:
    assert add(ipam={}, ipMasq=False).configuration.ip_masq is False


@pytest.mark.parametrize(
    "keys",
    [
        {"securityGroups": "web"},
        {"network": ""},
        {"defaultRoute": "yes"},
        {"runtimeConfig": {"mac": "01:00:5e:00:00:01"}},
        {"runtimeConfig": {"mac": "fa:16:3e"}},
        {"runtimeConfig": {"ips": ["10.0.0.999"]}},
        {"runtimeConfig": {"portMappings": [{"hostPort": 70000, "containerPort": 80}]}},
        {"runtimeConfig": {"bandwidth": {"ingressRate": -1}}},
        {"runtimeConfig": []},
        {"prevResult": {"interfaces": "eth0"}},
        {"prevResult": {"ips": ["10.0.0.1"]}},
        {"dns": {"nameservers": "10.0.0.1"}},
    ],
)
def test_a_malformed_value_is_an_invalid_configuration(keys: dict[str, Any]) -> None:
    error = refused(ADD, configuration(**keys))

    assert error.number is ErrorCode.INVALID_CONFIGURATION
    assert next(iter(keys)) in error.message


def test_a_capability_wins_over_args_and_those_over_cni_args() -> None:
    variables = {"CNI_ARGS": "IgnoreUnknown=1;IP=10.0.0.3/24;MAC=fa:16:3e:00:00:03;K8S_POD_NAME=p"}
    args = {"cni": {"ips": ["10.0.0.2"], "mac": "fa:16:3e:00:00:02"}}
    capability = {"ips": ["10.0.0.1/24", "fd00::1"], "mac": "FA-16-3E-00-00-01"}

    by_variable = add(variables)
    by_args = add(variables, args=args)
    by_capability = add(variables, args=args, runtimeConfig=capability)

    assert (by_variable.addresses, by_variable.mac) == ((ip_address("10.0.0.3"),), "fa:16:3e:00:00:03")
    assert (by_args.addresses, by_args.mac) == ((ip_address("10.0.0.2"),), "fa:16:3e:00:00:02")
    assert by_capability.addresses == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    assert by_capability.mac == "fa:16:3e:00:00:01"
    assert add().addresses == ()
    assert add().mac is None


def test_a_wrong_address_in_cni_args_is_an_environment_error() -> None:
    with pytest.raises(CniError) as caught:
        _ = add({"CNI_ARGS": "IP=10.0.0"}).addresses

    assert caught.value.number is ErrorCode.INVALID_ENVIRONMENT


@given(st.text(), st.dictionaries(st.sampled_from([*ADD, "CNI_ARGS"]), st.text()))
def test_nothing_that_comes_in_makes_parsing_fail_otherwise(stdin: str, environment: dict[str, str]) -> None:
    with pytest.raises(CniError):
        parse_call(environment, stdin)
    assert version_of(stdin)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted(PluginConfiguration.model_fields))


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_no_value_of_a_key_makes_parsing_fail_otherwise(keys: dict[str, Any]) -> None:
    try:
        call = add(**{to_camel(key): value for key, value in keys.items() if key != "name"})
    except CniError as error:
        assert error.number in {ErrorCode.INVALID_CONFIGURATION, ErrorCode.UNSUPPORTED_FIELD}  # noqa: PT017
    else:
        assert call.configuration.name == "blue"
