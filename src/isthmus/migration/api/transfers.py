"""Transfers: which machines go from where to where."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import falcon
from sqlalchemy.orm import Session

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput
from isthmus.control.identity import Caller
from isthmus.migration.api import views
from isthmus.migration.api.actions import action_of, wrapped
from isthmus.migration.api.environments import check_destination, check_source
from isthmus.migration.api.planned import planned
from isthmus.migration.api.queries import flag, page_of
from isthmus.migration.api.schemas import (
    ExecutionCreate,
    Failback,
    StorageMappings,
    TransferCreate,
    TransferUpdate,
    Verify,
)
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.model import ExecutionStatus, ExecutionType
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.store import endpoints, failing_back, pools, reading, requests, schedules, waves
from isthmus.migration.store.paging import Page
from isthmus.migration.tables import EndpointRow, ExecutionRow, TransferRow


class Transfers:
    """GET and POST transfers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's transfers; executions and `info` only with include_task_info, as in Coriolis."""
        caller = self._service.allow(req, "transfers:list")
        whole = flag(req, "include_task_info")
        with self._service.database.transaction() as session:
            rows = reading.transfers(session, caller.project_id, page_of(req), with_info=whole)
            runs = (
                reading.executions(session, caller.project_id, [row.id for row in rows], Page(), with_tasks=True)
                if whole
                else ()
            )
            resp.media = {
                "transfers": [
                    views.transfer(row, [run for run in runs if run.action_id == row.id], with_info=whole)
                    for row in rows
                ]
            }

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer transfers/detail, which is the same list."""
        self.on_get(req, resp)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Make a transfer."""
        caller = self._service.allow(req, "transfers:create")
        wanted = without_doubles(parse(TransferCreate, wrapped(self._service.body(req), "transfer"), "transfer"))
        with self._service.database.transaction() as session:
            origin, destination = checked_ends(session, caller, wanted)
        check_keys(self._service, caller, wanted.destination_environment)
        row = transfer_row(caller, self._service.trusts(caller), wanted)
        with self._service.database.transaction() as session:
            # Both endpoints stay until this is committed; always in one order, so that two calls cannot deadlock.
            for endpoint_id in sorted((origin.id, destination.id)):
                endpoints.claim(session, caller.project_id, endpoint_id)
            pools.check_wishes(
                session,
                caller.project_id,
                pool_wishes(wanted.model_dump(), wanted.instances),
                origin_endpoint=origin.id,
                destination_endpoint=destination.id,
            )
            session.add(row)
        resp.media = {"transfer": views.transfer(row)}


class Transfer:
    """GET and DELETE of one transfer; PUT is in `updates`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """Show a transfer; `info` only with include_task_info, as in Coriolis."""
        caller = self._service.allow(req, "transfers:show")
        whole = flag(req, "include_task_info")
        with self._service.database.transaction() as session:
            row = reading.transfer(session, caller.project_id, transfer_id)
            runs = reading.executions(session, caller.project_id, [row.id], Page(), with_tasks=True) if whole else ()
            resp.media = {"transfer": views.transfer(row, runs, with_info=whole)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """Delete a transfer that nothing works on. Its disks at the destination stay, its checkpoints do not."""
        caller = self._service.allow(req, "transfers:delete")
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            row = requests.claim_transfer(session, caller.project_id, transfer_id)
            row.trust_id = trust_id
            waves.refuse_if_planned(session, row.id)
            schedules.forget_all(session, row.id, utc_now())
            requests.delete_transfer(session, row, utc_now())
        resp.status = 204


class TransferActions:
    """POST transfers/{id}/actions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """Delete the disks at the destination (`delete-disks`), `verify` the replicas, `failback`, or `plan`."""
        body = self._service.body(req)
        act = action_of(body, "delete-disks", "verify", "failback", "plan")
        if act == "failback":
            self._failback(req, resp, transfer_id, body["failback"])
        elif act == "verify":
            self._verify(req, resp, transfer_id, body["verify"])
        elif act == "plan":
            self._plan(req, resp, transfer_id, body["plan"])
        else:
            self._delete_disks(req, resp, transfer_id)

    def _plan(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, asked: object) -> None:
        caller = self._service.allow(req, "transfers:plan")
        wanted = parse(ExecutionCreate, asked or {}, "plan")
        with self._service.database.transaction() as session:
            resp.media = {"plan": planned(session, reading.transfer(session, caller.project_id, transfer_id), wanted)}

    def _delete_disks(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        caller = self._service.allow(req, "transfers:delete_disks")
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            transfer.trust_id = trust_id
            run = requests.start_execution(
                session, transfer, new_execution(caller, transfer_id, ExecutionType.TRANSFER_DISKS_DELETE)
            )
            resp.media = {"execution": views.execution(run, with_tasks=True)}

    def _verify(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, asked: object) -> None:
        """Compare the replicas with their sources by hash."""
        caller = self._service.allow(req, "transfers:verify")
        wanted = parse(Verify, asked or {}, "verify")
        with self._service.database.transaction() as session:
            reading.transfer(session, caller.project_id, transfer_id)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            check_known(wanted.instances or (), transfer.instances, "verify.instances")
            transfer.trust_id = trust_id
            kind = ExecutionType.TRANSFER_VERIFICATION
            run = new_execution(caller, transfer_id, kind, instances=wanted.instances)
            requests.start_verification(session, transfer, run)
            resp.media = {"execution": views.execution(run, with_tasks=True)}

    def _failback(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, asked: object) -> None:
        """Make the transfer that brings this one's machines home; nothing is copied yet."""
        caller = self._service.allow(req, "transfers:failback")
        wanted = parse(Failback, asked or {}, "failback")
        with self._service.database.transaction() as session:
            transfer = reading.transfer(session, caller.project_id, transfer_id)
            home = endpoints.get(session, caller.project_id, transfer.origin_endpoint_id)
            away = endpoints.get(session, caller.project_id, transfer.destination_endpoint_id)
        check_source(provider_class(away.type), wanted.source_environment)
        check_destination(provider_class(home.type), wanted.destination_environment)
        check_keys(self._service, caller, wanted.destination_environment)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            deployment = failing_back.deployed_by(session, transfer, wanted.deployment_id)
            machines = failing_back.machines_of(deployment, wanted.instances)
            wishes = {
                **wanted.model_dump(include={"source_environment", "destination_environment", "network_map", "notes"}),
                "storage_mappings": wanted.storage_mappings.model_dump(exclude_none=True, exclude_unset=True),
            }
            row = failing_back.reversed_transfer(transfer, machines, wishes, row_id=new_id(), now=utc_now())
            row.user_id, row.trust_id = caller.user_id, trust_id
            session.add(row)
            session.flush()
            resp.media = {"transfer": views.transfer(row)}


def new_execution(
    caller: Caller,
    action_id: str,
    kind: ExecutionType,
    *,
    shutdown_instances: bool = False,
    auto_deploy: bool = False,
    instances: Sequence[str] | None = None,
    keep_partial: bool = False,
    hold_on_error: bool = False,
) -> ExecutionRow:
    """Return the row of an execution that is about to start."""
    return ExecutionRow(
        id=new_id(),
        action_id=action_id,
        project_id=caller.project_id,
        type=kind,
        shutdown_instances=shutdown_instances,
        auto_deploy=auto_deploy,
        instances=None if instances is None else list(instances),
        keep_partial=keep_partial,
        hold_on_error=hold_on_error,
        tasks=[],
        created_at=utc_now(),
    )


Wanted = TypeVar("Wanted", TransferCreate, TransferUpdate)


def without_doubles(wanted: Wanted) -> Wanted:
    """Take network_map and storage_mappings out of the destination environment; their own keys win over those."""
    environment = dict(wanted.destination_environment)
    inner = parse(
        TransferUpdate,
        {
            "network_map": environment.pop("network_map", None),
            "storage_mappings": environment.pop("storage_mappings", None),
        },
        "transfer.destination_environment",
    )
    return wanted.model_copy(
        update={
            "destination_environment": environment,
            "network_map": wanted.network_map or inner.network_map,
            "storage_mappings": (
                inner.storage_mappings if wanted.storage_mappings == StorageMappings() else wanted.storage_mappings
            ),
        }
    )


def pool_wishes(values: Mapping[str, Any], instances: Sequence[str]) -> pools.PoolWishes:
    """Return the minion pools that a transfer's values name; `InvalidInput` if they are for other instances."""
    morphing = values["instance_osmorphing_minion_pool_mappings"] or {}
    check_known(morphing, instances, "instance_osmorphing_minion_pool_mappings")
    return pools.PoolWishes(values["origin_minion_pool_id"], values["destination_minion_pool_id"], morphing)


def check_known(named: Iterable[str], instances: Sequence[str], what: str) -> None:
    """Return if all that is named are instances of the transfer; `InvalidInput` names those that are not."""
    strangers = sorted(set(named) - set(instances))
    if strangers:
        raise InvalidInput(f"{what} names {', '.join(strangers)}, not among the transfer's instances")


def check_keys(service: Service, caller: Caller, environment: Mapping[str, Any]) -> None:
    """Return if a destination environment names no LUKS keys, or names them rightly; `InvalidInput` if not."""
    reference = environment.get("luks_secret_ref")
    if isinstance(reference, str):
        service.vault.check(caller, reference)


def checked_ends(session: Session, caller: Caller, wanted: TransferCreate) -> tuple[EndpointRow, EndpointRow]:
    """Return both endpoints of a transfer that could be made between them; raise what is wrong with it if not."""
    origin = endpoints.get(session, caller.project_id, wanted.origin_endpoint_id)
    destination = endpoints.get(session, caller.project_id, wanted.destination_endpoint_id)
    _check_ends(origin, destination, wanted)
    return origin, destination


def _check_ends(origin: EndpointRow, destination: EndpointRow, wanted: TransferCreate) -> None:
    if origin.id == destination.id:
        raise InvalidInput(
            "The origin and destination endpoints cannot be the same; for two areas of one cloud make two endpoints"
        )
    if origin.connection_info == destination.connection_info:
        raise InvalidInput(
            f"endpoints {origin.id} and {destination.id} have the same connection details; give each its own"
        )
    check_source(provider_class(origin.type), wanted.source_environment)
    check_destination(provider_class(destination.type), wanted.destination_environment)
    check_known(wanted.user_scripts.instances, wanted.instances, "transfer.user_scripts.instances")


def transfer_row(caller: Caller, trust_id: str | None, wanted: TransferCreate) -> TransferRow:
    """Return the row of a new transfer."""
    return TransferRow(
        id=new_id(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        trust_id=trust_id,
        scenario=wanted.scenario,
        origin_endpoint_id=wanted.origin_endpoint_id,
        destination_endpoint_id=wanted.destination_endpoint_id,
        instances=list(wanted.instances),
        source_environment=wanted.source_environment,
        destination_environment=wanted.destination_environment,
        network_map=wanted.network_map,
        storage_mappings=wanted.storage_mappings.model_dump(exclude_none=True, exclude_unset=True),
        notes=wanted.notes,
        user_scripts=wanted.user_scripts.as_stored(),
        origin_minion_pool_id=wanted.origin_minion_pool_id,
        destination_minion_pool_id=wanted.destination_minion_pool_id,
        instance_osmorphing_minion_pool_mappings=dict(wanted.instance_osmorphing_minion_pool_mappings),
        clone_disks=wanted.clone_disks,
        skip_os_morphing=wanted.skip_os_morphing,
        last_execution_status=ExecutionStatus.UNEXECUTED,
        info={},
        version=0,
        created_at=utc_now(),
    )
