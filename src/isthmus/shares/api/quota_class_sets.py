"""Quota class sets: limits above the configuration's defaults; those of class `default` hold for all projects."""

from typing import Any

from isthmus.control.errors import InvalidInput, NotAllowed
from isthmus.shares.api.call import Call
from isthmus.shares.api.quota_views import SINCE, shown
from isthmus.shares.api.routing import Route
from isthmus.shares.api.versions import since
from isthmus.shares.store import quotas, usage

_LONGEST = 255


def show(call: Call, class_name: str) -> dict[str, Any]:
    """Show a class; one that nobody set anything for has the defaults."""
    call.allow("quota_class_set:show")
    if not call.is_admin:
        raise NotAllowed(f"Access was denied to the quota class {class_name}; only administrators see classes")
    limits = usage.default_limits(call.session, call.conf, class_name)
    return {"quota_class_set": shown(limits, call.version, identity=class_name)}


def update(call: Call, class_name: str) -> dict[str, Any]:
    """Set limits of a class; other words in the body are left unheeded, as in Manila."""
    call.allow("quota_class_set:update")
    given = call.entity("quota_class_set")
    if len(class_name) > _LONGEST:
        raise InvalidInput(f"A quota class's name has at most {_LONGEST} characters")
    wanted = {name: _limit(name, given[name]) for name in SINCE if name in given}
    quotas.set_class_limits(call.session, class_name, wanted)
    limits = usage.default_limits(call.session, call.conf, class_name)
    return {"quota_class_set": shown(limits, call.version)}


def _limit(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < 2**31:
        raise InvalidInput(
            f"Invalid input for field/attribute {name}. Value: {value}. It must be an integer of -1 or more."
        )
    return value


ROUTES = (
    Route("GET", "/os-quota-class-sets/{class_name}", show, until=since(6)),
    Route("PUT", "/os-quota-class-sets/{class_name}", update, until=since(6)),
    Route("GET", "/quota-class-sets/{class_name}", show, since(7)),
    Route("PUT", "/quota-class-sets/{class_name}", update, since(7)),
)
