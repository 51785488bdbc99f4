"""Who an access rule is for: what may stand in `access_type` and `access_to`.

Source: Manila's API reference, "access rules"; the limits of user names are those of Windows groups.
"""

import ipaddress
import re
import string

from isthmus.control.errors import InvalidInput

_ONLY_DOTS = re.compile(r"[\s|\.]+$")
_USER_NAME = re.compile(r".[^\"\/\\\[\]\:\;\|\=\,\+\*\?\<\>]{3,254}$")
_PRINTABLE = frozenset(string.printable)


def check_target(access_type: str, access_to: str, *, cephx: bool, ipv6: bool) -> None:
    """Return if a rule may be for this client; raise `InvalidInput` if not. `cephx` and `ipv6` say what is known."""
    if access_type == "ip":
        _check_network(access_to, ipv6=ipv6)
    elif access_type == "user":
        _check_user(access_to)
    elif access_type == "cert":
        _check_common_name(access_to.strip())
    elif access_type == "cephx" and cephx:
        _check_ceph_id(access_to)
    else:
        known = "'ip', 'user', 'cert' or 'cephx'" if cephx else "'ip', 'user' or 'cert'"
        raise InvalidInput(f"Only {known} access types are supported.")


def is_same_client(access_type: str, one: str, other: str) -> bool:
    """Say whether two rules of a type are for the same client: 10.0.0.1 and 10.0.0.1/32 are."""
    if access_type != "ip":
        return one == other
    return ipaddress.ip_network(one) == ipaddress.ip_network(other)


def _check_network(network: str, *, ipv6: bool) -> None:
    try:
        if ipv6:
            ipaddress.ip_network(network)
        else:
            ipaddress.IPv4Network(network)
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _check_user(name: str) -> None:
    if _ONLY_DOTS.match(name):
        raise InvalidInput("Invalid user or group name,cannot consist solely of periods or spaces.")
    if not _USER_NAME.match(name):
        raise InvalidInput(
            "Invalid user or group name. Must be 4-255 characters and consist of alphanumeric characters and "
            'exclude special characters "/\\[]:;|=,+*?<>'
        )


def _check_common_name(name: str) -> None:
    if not 0 < len(name) <= 64:
        raise InvalidInput("Invalid CN (common name). Must be 1-64 chars long.")


def _check_ceph_id(identity: str) -> None:
    if not identity:
        raise InvalidInput("Ceph IDs may not be empty.")
    if not set(identity) <= _PRINTABLE:
        raise InvalidInput("Ceph IDs must consist of ASCII printable characters.")
    # "client." would be taken for a part of the name.
    if "." in identity:
        raise InvalidInput("Ceph IDs may not contain periods.")
