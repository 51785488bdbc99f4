"""PUT transfers/{id}: new values are merged into the transfer's, tried at both ends, and then become its own."""

from collections.abc import Mapping
from typing import Any

import falcon
from sqlalchemy.orm import Session

from isthmus.control.bodies import parse
from isthmus.control.errors import InvalidInput
from isthmus.migration.api import views
from isthmus.migration.api.actions import wrapped
from isthmus.migration.api.environments import check_destination, check_source
from isthmus.migration.api.schemas import StorageMappings, TransferUpdate
from isthmus.migration.api.transfers import (
    Transfer,
    check_keys,
    check_known,
    new_execution,
    pool_wishes,
    without_doubles,
)
from isthmus.migration.model import ExecutionType
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.store import endpoints, pools, reading, requests
from isthmus.migration.tables import TransferRow


class UpdatableTransfer(Transfer):
    """GET, DELETE and PUT of one transfer."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """Begin the execution that updates a transfer, and answer with it."""
        service = self._service
        caller = service.allow(req, "transfers:update")
        wanted = without_doubles(parse(TransferUpdate, wrapped(service.body(req), "transfer"), "transfer"))
        with service.database.transaction() as session:
            reading.transfer(session, caller.project_id, transfer_id)
        check_keys(service, caller, wanted.destination_environment)
        trust_id = service.trusts(caller)
        with service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            _check_fixed(transfer, wanted)
            run = new_execution(caller, transfer_id, ExecutionType.TRANSFER_UPDATE)
            run.requested = merge(transfer, wanted)
            _check_values(session, transfer, run.requested)
            transfer.trust_id = trust_id
            requests.start_execution(session, transfer, run)
            resp.media = {"execution": views.execution(run, with_tasks=True)}


def _check_values(session: Session, transfer: TransferRow, merged: Mapping[str, Any]) -> None:
    origin = endpoints.get(session, transfer.project_id, transfer.origin_endpoint_id)
    destination = endpoints.get(session, transfer.project_id, transfer.destination_endpoint_id)
    check_source(provider_class(origin.type), merged["source_environment"])
    check_destination(provider_class(destination.type), merged["destination_environment"])
    check_known(merged["user_scripts"]["instances"], transfer.instances, "transfer.user_scripts.instances")
    pools.check_wishes(
        session,
        transfer.project_id,
        pool_wishes(merged, transfer.instances),
        origin_endpoint=origin.id,
        destination_endpoint=destination.id,
    )


def _check_fixed(transfer: TransferRow, wanted: TransferUpdate) -> None:
    for field in ("scenario", "origin_endpoint_id", "destination_endpoint_id"):
        given = getattr(wanted, field)
        if given is not None and given != getattr(transfer, field):
            raise InvalidInput(
                f"transfer.{field} cannot be changed; make another transfer, or update the endpoint itself"
            )
    if wanted.instances is not None and sorted(wanted.instances) != sorted(transfer.instances):
        raise InvalidInput("transfer.instances cannot be changed; make another transfer for the other machines")


def merge(transfer: TransferRow, wanted: TransferUpdate) -> dict[str, Any]:
    """Return the transfer's values as they are going to be: objects merged key by key, all else replaced."""
    scripts, now = wanted.user_scripts.as_stored(), transfer.user_scripts or {}
    merged: dict[str, Any] = {
        "source_environment": {**transfer.source_environment, **wanted.source_environment},
        "destination_environment": {**transfer.destination_environment, **wanted.destination_environment},
        "network_map": {**transfer.network_map, **wanted.network_map},
        "storage_mappings": _storage(transfer.storage_mappings, wanted.storage_mappings),
        "user_scripts": {key: {**(now.get(key) or {}), **scripts[key]} for key in ("global", "instances")},
        "instance_osmorphing_minion_pool_mappings": {
            **(transfer.instance_osmorphing_minion_pool_mappings or {}),
            **wanted.instance_osmorphing_minion_pool_mappings,
        },
    }
    for column in ("notes", "clone_disks", "skip_os_morphing"):
        given = getattr(wanted, column)
        merged[column] = getattr(transfer, column) if given is None else given
    # A null pool that was sent on purpose takes the pool away, as in Coriolis.
    for column in ("origin_minion_pool_id", "destination_minion_pool_id"):
        sent = column in wanted.model_fields_set
        merged[column] = getattr(wanted, column) if sent else getattr(transfer, column)
    return merged


def _storage(present: Mapping[str, Any], wanted: StorageMappings) -> dict[str, Any]:
    new = wanted.model_dump(exclude_none=True)
    merged: dict[str, Any] = {}
    for key, identity in (("backend_mappings", "source"), ("disk_mappings", "disk_id")):
        by_identity = {each[identity]: each for each in (*(present.get(key) or ()), *new[key])}
        if by_identity:
            merged[key] = list(by_identity.values())
    default = wanted.default or present.get("default")
    return {**merged, **({"default": default} if default else {})}
