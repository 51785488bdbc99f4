"""Tells Neutron about ports on top of the host's own port (the parent), and takes it back.

What Neutron has is the truth, read again for each change: several agents, and people, may change one parent. A change
is refused if the parent is not what was read (its revision), or if the VLAN id is taken meanwhile, and then tried anew.
"""

from collections.abc import Iterable
from dataclasses import replace

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.binding.contract import Binder, Nesting
from isthmus.networking.binding.nested import NestedBinder
from isthmus.networking.model import Label, Port
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.neutron.parsing import Json

_TRIES = 8
_VLANS = range(1, 4095)


def join_parent(parts: Parts, binder: Binder, port: Port) -> Port:
    """Have the parent carry a port, and return it with its VLAN id, if any, in `vif_details`. So already: the same."""
    if not isinstance(binder, NestedBinder):
        return port
    neutron = parts.neutron(parts.projects.names[0])
    said = ""
    for _ in range(_TRIES):
        parent = _parent(neutron, binder)
        try:
            return _join(neutron, parent, binder.nesting, port)
        except Conflict as error:
            said = error.message
    raise Conflict(f"{binder.parent} does not take port {port.id}: {said}; attach it again")


def device_of(binder: Binder, label: Label) -> dict[str, str]:
    """Return whose a port is said to be in Neutron; nothing for a subport, as a trunk takes none that is anybody's."""
    if binder.nesting is Nesting.SUBPORT:
        return {}
    return {"device_id": label.device_id, "device_owner": label.device_owner}


def _join(neutron: Neutron, parent: Json, nesting: Nesting, port: Port) -> Port:
    if nesting is Nesting.SUBPORT:
        vlan = _ensure_subport(neutron, parent, port)
        return replace(port, vif_details={**port.vif_details, "segmentation_id": vlan})
    _write_pairs(neutron, parent, [*_others(parent, port), *_pairs(port)])
    return port


def leave_parent(parts: Parts, binder: Binder, port: Port) -> None:
    """Have the parent carry a port no more. So already, or no parent any more: success."""
    if not isinstance(binder, NestedBinder):
        return
    neutron = parts.neutron(parts.projects.names[0])
    for _ in range(_TRIES):
        try:
            parent = _parent(neutron, binder)
            if binder.nesting is Nesting.SUBPORT:
                trunk = _trunk(neutron, parent)
                if any(each["port_id"] == port.id for each in trunk["sub_ports"]):
                    neutron.act("trunks", trunk["id"], "remove_subports", {"sub_ports": [{"port_id": port.id}]})
            else:
                _write_pairs(neutron, parent, _others(parent, port))
        except NotFound:
            return
        except Conflict:
            continue
        return
    raise Conflict(f"the port of {binder.parent} changes all the time; port {port.id} stays with it for now")


def carried_ports(parts: Parts, binder: Binder, ports: Iterable[Port]) -> frozenset[str]:
    """Return the ids of those of some ports that the parent carries. `NotFound` where it has none."""
    if not isinstance(binder, NestedBinder):
        return frozenset()
    neutron = parts.neutron(parts.projects.names[0])
    parent = _parent(neutron, binder)
    if binder.nesting is Nesting.SUBPORT:
        subports = {each["port_id"] for each in _trunk(neutron, parent)["sub_ports"]}
        return frozenset(port.id for port in ports if port.id in subports)
    have = parent.get("allowed_address_pairs") or []
    return frozenset(port.id for port in ports if len(_others(parent, port)) < len(have))


def _parent(neutron: Neutron, binder: NestedBinder) -> Json:
    mac = binder.parent_mac()
    found = [each for each in neutron.list("ports", {"mac_address": mac}) if each["project_id"] == neutron.project_id]
    if len(found) != 1:
        raise NotFound(
            f"{len(found)} ports of the project have {binder.parent}'s MAC address {mac}; the first of [network_agent] "
            "credentials must be of the project of this virtual machine's port"
        )
    return found[0]


def _trunk(neutron: Neutron, parent: Json) -> Json:
    found = neutron.list("trunks", {"port_id": parent["id"]})
    if not found:
        raise NotFound(f"port {parent['id']} has no trunk; make one (openstack network trunk create --parent-port)")
    return found[0]


def _ensure_subport(neutron: Neutron, parent: Json, port: Port) -> int:
    trunk = _trunk(neutron, parent)
    for each in trunk["sub_ports"]:
        if each["port_id"] == port.id:
            return int(each["segmentation_id"])
    taken = {int(each["segmentation_id"]) for each in trunk["sub_ports"]}
    vlan = next((each for each in _VLANS if each not in taken), None)
    if vlan is None:
        raise NotFound(f"trunk {trunk['id']} has no VLAN id left; detach something from this host")
    added = {"port_id": port.id, "segmentation_type": "vlan", "segmentation_id": vlan}
    neutron.act("trunks", trunk["id"], "add_subports", {"sub_ports": [added]})
    return vlan


def _pairs(port: Port) -> list[dict[str, str]]:
    return [{"ip_address": str(fixed.address), "mac_address": port.mac} for fixed in port.fixed_ips]


def _others(parent: Json, port: Port) -> list[dict[str, str]]:
    mine = {pair["ip_address"] for pair in _pairs(port)}
    pairs: Iterable[dict[str, str]] = parent.get("allowed_address_pairs") or ()
    return [pair for pair in pairs if pair["ip_address"] not in mine or pair["mac_address"].lower() != port.mac.lower()]


def _write_pairs(neutron: Neutron, parent: Json, pairs: list[dict[str, str]]) -> None:
    have = parent.get("allowed_address_pairs") or []
    if sorted(map(str, have)) == sorted(map(str, pairs)):
        return
    try:
        neutron.update("ports", parent["id"], {"allowed_address_pairs": pairs}, int(parent["revision_number"]))
    except InvalidInput as error:
        # Neutron's OVN driver (29) takes the parent's own MAC address and those of VRRP alone.
        raise InvalidInput(
            f"{error.message}. This Neutron does not let machines send with MAC addresses of their containers: use "
            "binder vlan on a trunk, or ask for a MAC address that it takes"
        ) from None
