"""What can be done with a share network: security services come and go, subnets are tried, statuses are reset.

No share server stands on any network yet, so nothing has to be asked of a back end: what is well formed is compatible.
"""

from collections.abc import Callable, Mapping
from typing import Any

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.shares.api.call import Answer, Call, Handler
from isthmus.shares.api.networks_lookup import claim_network, find_network, refuse_inactive
from isthmus.shares.api.queries import boolean
from isthmus.shares.api.reset_status import asked_status
from isthmus.shares.api.routing import Action, choose_action
from isthmus.shares.api.subnet_requests import neutron_ids, wanted_zone
from isthmus.shares.api.versions import since
from isthmus.shares.api.views import Row
from isthmus.shares.store import networks
from isthmus.shares.store import security_services as store

Shown = Callable[[Call, Row], dict[str, Any]]

STATUSES = ("active", "error", "network_change")


def action(shown: Shown) -> Handler:
    """Return the handler; `shown` makes the answer that shows a network."""

    def add(call: Call, network_id: str, argument: object) -> dict[str, Any]:
        network = _network(call, network_id, "add_security_service")
        service = _service(call, _named(argument, "security_service_id"))
        _refuse_unfit(call, network, service)
        store.use(call.session, network_id, service["id"])
        return shown(call, network)

    def remove(call: Call, network_id: str, argument: object) -> dict[str, Any]:
        network = _network(call, network_id, "remove_security_service")
        service = _service(call, _named(argument, "security_service_id"))
        if not store.leave(call.session, network_id, service["id"]):
            raise InvalidInput(
                f"Failed to dissociate share network {network_id} and security service {service['id']}: "
                "No association defined."
            )
        return shown(call, network)

    def update(call: Call, network_id: str, argument: object) -> Answer:
        network = _network(call, network_id, "update_security_service")
        current, new = _pair(call, argument)
        _refuse_unfit(call, network, new, current)
        if current["id"] != new["id"]:
            store.leave(call.session, network_id, current["id"])
            store.use(call.session, network_id, new["id"])
        return Answer(202, shown(call, network))

    return choose_action(
        [
            Action("add_security_service", add),
            Action("remove_security_service", remove),
            Action("update_security_service", update, since(63)),
            Action("update_security_service_check", _update_check, since(63)),
            Action("add_security_service_check", _add_check, since(63)),
            Action("share_network_subnet_create_check", _subnet_check, since(70)),
            Action("reset_status", _reset_status, since(63)),
        ]
    )


def _add_check(call: Call, network_id: str, argument: object) -> Answer:
    network = _network(call, network_id, "add_security_service_check")
    named = _named(argument, "security_service_id")
    service = store.find(call.session, named, None if call.is_admin else call.project_id)
    if service is None:
        raise InvalidInput(f"Security service {named} doesn't exist.")
    _refuse_unfit(call, network, service)
    return _compatible(call, argument, "add_security_service", None, service["id"])


def _update_check(call: Call, network_id: str, argument: object) -> Answer:
    network = _network(call, network_id, "update_security_service_check")
    current, new = _pair(call, argument)
    _refuse_unfit(call, network, new, current)
    return _compatible(call, argument, "update_security_service", current["id"], new["id"])


def _subnet_check(call: Call, network_id: str, argument: object) -> Answer:
    call.allow("share_network:subnet_create_check")
    if not isinstance(argument, dict):
        raise InvalidInput("Share Network Subnet Create Check is missing from the request body.")
    neutron_ids(argument)
    find_network(call, network_id)
    wanted_zone(call, argument)
    _reset_wanted(argument)
    return Answer(202, {"compatible": True, **_hosts(call)})


def _reset_status(call: Call, network_id: str, argument: object) -> Answer:
    status = asked_status(argument, STATUSES)
    call.allow("share_network:reset_status")
    network = find_network(call, network_id)
    networks.change(call.session, network["id"], {"status": status}, call.now)
    return Answer(202)


def _network(call: Call, network_id: str, deed: str) -> Row:
    network = claim_network(call, network_id)
    call.allow(f"share_network:{deed}", {"project_id": network["project_id"]})
    return network


def _named(argument: object, name: str) -> str:
    if not isinstance(argument, dict) or name not in argument:
        raise InvalidInput("Malformed request body")
    return str(argument[name])


def _service(call: Call, service_id: str) -> Row:
    found = store.find(call.session, service_id, None if call.is_admin else call.project_id)
    if found is None:
        raise NotFound(f"SecurityServiceNotFound: Security service {service_id} could not be found.")
    return found


def _pair(call: Call, argument: object) -> tuple[Row, Row]:
    """Return the security services that the body calls current and new."""
    names = [_named(argument, name) for name in ("current_service_id", "new_service_id")]
    found = [store.find(call.session, name, None if call.is_admin else call.project_id) for name in names]
    current, new = found
    if current is None or new is None:
        raise InvalidInput("The current security service or the new security service doesn't exist.")
    return current, new


def _refuse_unfit(call: Call, network: Row, new: Row, current: Row | None = None) -> None:
    """Raise if the network cannot use `new` too, or in the place of `current`."""
    refuse_inactive(network)
    used = store.used_by(call.session, network["id"])
    if current is None:
        if any(each["type"] == new["type"] for each in used):
            raise _Unfit(
                f"Cannot add security service to share network. Security service with '{new['type']}' type already "
                f"added to '{network['id']}' share network"
            )
        return
    if all(each["id"] != current["id"] for each in used):
        raise _Unfit(
            f"The specified current security service {current['id']} is not associated to the share network "
            f"{network['id']}."
        )
    if current["type"] != new["type"]:
        raise _Unfit(
            "A security service can only be replaced by one of the same type. The current security service type is "
            f"'{current['type']}' and the new security service type is '{new['type']}'"
        )


class _Unfit(Conflict):
    """A security service that the network cannot use."""

    code = "share-security-service-unfit"

    def __init__(self, why: str) -> None:
        super().__init__(f"Invalid security service: {why}")


def _compatible(call: Call, argument: object, operation: str, current: str | None, new: str) -> Answer:
    _reset_wanted(argument)
    asked = {"operation": operation, "current_security_service": current, "new_security_service": new}
    return Answer(202, {"compatible": True, "requested_operation": asked, **_hosts(call)})


def _hosts(call: Call) -> Mapping[str, Any]:
    return {"hosts_check_result": {}} if call.is_admin else {}


def _reset_wanted(argument: object) -> bool:
    if not isinstance(argument, dict):
        return False
    return boolean(argument.get("reset_operation") or False, "reset_operation")
