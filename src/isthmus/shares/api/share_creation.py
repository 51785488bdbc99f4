"""Creating a share: what is asked for is checked in Manila's order, then written, placed and handed to a back end."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oslo_utils.uuidutils import is_uuid_like
from sqlalchemy import or_, select

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.shares.api import share_sources, share_views
from isthmus.shares.api.call import Call
from isthmus.shares.api.metadata import checked
from isthmus.shares.api.quota_faults import refuse_too_large, take_quota
from isthmus.shares.api.share_lookup import visible_share
from isthmus.shares.api.share_requests import public_flag, share_body, text, whole
from isthmus.shares.api.share_sources import Source
from isthmus.shares.api.type_limits import check_size
from isthmus.shares.api.versions import since
from isthmus.shares.store import creating, qos_types, replicas, share_type_facts
from isthmus.shares.store.creating import Hints, NewShare
from isthmus.shares.store.results import key_is_used
from isthmus.shares.store.share_type_facts import ShareType
from isthmus.shares.store.usage import Owner
from isthmus.shares.tables import AvailabilityZoneRow

_ENCRYPTION = ("share", "share_server")
_DEFAULT_PREFIX = "{project_id}_"
_MOUNT_NAME = re.compile(r"[a-zA-Z0-9_-]{0,255}")


@dataclass(frozen=True)
class _Asked:
    """The parts of a request that were looked up."""

    data: Mapping[str, Any]
    source: Source
    share_type: ShareType | None
    zone: str | None
    size_gib: int
    encryption_key_ref: str | None


def create(call: Call) -> dict[str, Any]:
    """Create a share, empty or from a snapshot."""
    call.allow("share:create")
    data = share_body(call)
    is_public = public_flag(call, data, "share:create_public_share") or False
    name, description = text(data, "name", "display_name"), text(data, "description", "display_description")
    protocol = text(data, "share_proto")
    asked = _looked_up(call, data)
    metadata = checked(data.get("metadata"))
    _check(call, asked, protocol)
    share_type = asked.share_type
    new = NewShare(
        project_id=call.project_id,
        user_id=call.caller.user_id,
        size_gib=asked.size_gib,
        protocol=(protocol or "").upper(),
        share_type=share_type,
        name=name,
        description=description,
        is_public=is_public,
        metadata=metadata,
        availability_zone=asked.zone,
        zones=share_type.zones if share_type and call.version >= since(48) else (),
        snapshot_id=asked.source.snapshot_id,
        snapshot_host=asked.source.snapshot_host,
        share_group_id=asked.source.group_id,
        share_network_id=asked.source.network_id,
        fixed_host=asked.source.fixed_host,
        mount_point_name=_mount_point_name(call, data, share_type),
        encryption_key_ref=asked.encryption_key_ref,
        hints=_hints(call, data),
    )
    owner = Owner(call.project_id, call.caller.user_id, None if share_type is None else share_type.id)
    take_quota(call, owner, _deltas(call, new))
    return share_views.detail(call, creating.create(call.session, call.conf, new, call.now, call.request_id))


def _looked_up(call: Call, data: Mapping[str, Any]) -> _Asked:
    zone = _zone(call, data)
    source = share_sources.find(call, data, zone)
    share_type = _share_type(call, data, source)
    size = data.get("size")
    if size is None and source.snapshot_size is not None:
        size = source.snapshot_size
    number = whole(size)
    if number is None or number <= 0:
        raise InvalidInput(f"Invalid input received: Share size '{size}' must be an integer and greater than 0.")
    encryption = text(data, "encryption_key_ref") if call.version >= since(90) else None
    return _Asked(data, source, share_type, zone or source.zone, number, encryption)


def _zone(call: Call, data: Mapping[str, Any]) -> str | None:
    asked = text(data, "availability_zone")
    if asked is None:
        return None
    found = call.session.scalar(
        select(AvailabilityZoneRow.name).where(or_(AvailabilityZoneRow.name == asked, AvailabilityZoneRow.id == asked))
    )
    if found is None:
        raise NotFound(f"Availability zone {asked} could not be found.")
    return found


def _share_type(call: Call, data: Mapping[str, Any], source: Source) -> ShareType | None:
    if "share_type" in data and "volume_type" in data:
        raise InvalidInput("Cannot specify both share_type and volume_type")
    asked = text(data, "share_type", "volume_type")
    if asked is not None:
        found = share_type_facts.usable(call.session, asked, None if call.is_admin else call.project_id)
        if found is None:
            raise NotFound("Share type not found.")
        if source.share_type_id not in (None, found.id):
            raise InvalidInput(
                "Invalid input received: Invalid share type specified: the requested share type must match the type "
                "of the source share. If a share type is not specified when requesting a new share from a snapshot, "
                "the share type of the source share will be applied to the new share.."
            )
        return found
    if source.snapshot_id is not None:
        return share_type_facts.of_id(call.session, source.share_type_id)
    return share_type_facts.default(call.session, call.conf.shares.default_share_type)


def _check(call: Call, asked: _Asked, protocol: str | None) -> None:
    share_type, source = asked.share_type, asked.source
    has_servers = share_type is not None and share_type.says("driver_handles_share_servers")
    if has_servers and not (source.network_id or source.snapshot_id or source.group_id):
        raise InvalidInput("Share network must be set when the driver_handles_share_servers is true.")
    zones = share_type.zones if share_type is not None and call.version >= since(48) else ()
    if zones and asked.zone is not None and asked.zone not in zones:
        raise InvalidInput(
            f"Share type {asked.data.get('share_type')} is not supported within the availability zone chosen "
            f"{asked.zone}."
        )
    if asked.encryption_key_ref is not None:
        _check_encryption(share_type, asked.encryption_key_ref, has_servers=has_servers)
    if source.snapshot_size is not None and asked.size_gib < source.snapshot_size:
        raise InvalidInput(
            f"Invalid input received: Share size '{asked.size_gib}' must be equal or greater than snapshot size."
        )
    check_size(share_type, asked.size_gib, "create")
    _check_quality(call, share_type)
    known = [each.upper() for each in call.conf.shares.enabled_share_protocols]
    if (protocol or "").upper() not in known:
        raise InvalidInput(
            f"Invalid input received: Invalid share protocol provided: {protocol}. It is either disabled or "
            f"unsupported. Available protocols: {', '.join(known)}."
        )
    refuse_too_large(call, asked.size_gib, None if share_type is None else share_type.id)
    share_sources.check_group(call, source, share_type)


def _check_quality(call: Call, share_type: ShareType | None) -> None:
    named = share_type.specs.get("default_qos_type") if share_type is not None else None
    if share_type is not None and named and not qos_types.exists(call.session, named):
        raise InvalidInput(
            f"Share type {share_type.name} extra-specs 'default_qos_type' specified qos_type does not exist."
        )


def _check_encryption(share_type: ShareType | None, key_ref: str, *, has_servers: bool) -> None:
    if share_type is not None and share_type.specs.get("encryption_support") not in _ENCRYPTION:
        raise InvalidInput(
            f"Share type {share_type.name} extra-specs 'encryption_support' is missing valid value e.g. share, "
            "share_server."
        )
    if share_type is not None and not has_servers:
        raise InvalidInput(f"Share type {share_type.name} must set dhss=True for share encryption.")
    if not is_uuid_like(key_ref):
        raise InvalidInput("Invalid input received: Encryption key ref is not valid UUID.")


def _mount_point_name(call: Call, data: Mapping[str, Any], share_type: ShareType | None) -> str | None:
    asked = text(data, "mount_point_name") if call.version >= since(84) else None
    return None if asked is None else prefixed_mount_point_name(call, asked, share_type)


def prefixed_mount_point_name(call: Call, asked: str, share_type: ShareType | None) -> str:
    """Return the name by which a share is mounted: the asked one after the prefix of its type."""
    if share_type is None or not share_type.says("mount_point_name_support"):
        type_id = None if share_type is None else share_type.id
        raise InvalidInput(
            f"Invalid input received: Setting a mount point name is not supported by the share type used: {type_id}."
        )
    prefix = share_type.specs.get("provisioning:mount_point_prefix", _DEFAULT_PREFIX)
    name = f"{prefix}{asked}".replace("{project_id}", call.project_id).replace("{user_id}", call.caller.user_id)
    if not _MOUNT_NAME.fullmatch(name):
        raise InvalidInput(f"Invalid input received: Invalid mount_point_name: {name}.")
    return name


def _hints(call: Call, data: Mapping[str, Any]) -> Hints:
    given = data.get("scheduler_hints")
    if call.version < since(65) or given is None:
        return Hints()
    if not isinstance(given, dict):
        raise InvalidInput("Invalid input received: scheduler_hints must be an object.")
    only_host = text(given, "only_host") if call.version >= since(67) else None
    return Hints(
        same_host=_hinted(call, given, "same_host"),
        different_host=_hinted(call, given, "different_host"),
        only_host=only_host if call.may("context_is_host_admin") else None,
        query=text(given, "query", longest=4000),
    )


def _hinted(call: Call, given: Mapping[str, Any], name: str) -> tuple[str, ...]:
    named = text(given, name, longest=1000)
    if named is None:
        return ()
    found = tuple(dict.fromkeys(named.split(",")))
    for share_id in found:
        if not is_uuid_like(share_id):
            raise InvalidInput(f"{share_id} is not a valid uuid.")
        visible_share(call, share_id)
    return found


def _deltas(call: Call, new: NewShare) -> dict[str, int]:
    deltas = {"gigabytes": new.size_gib, "shares": 1, **replicas.deltas(new.replication_type, new.size_gib)}
    if new.encryption_key_ref and not key_is_used(call.session, call.project_id, new.encryption_key_ref):
        deltas["encryption_keys"] = 1
    return deltas
