"""Deployments: machines made from a transfer's replicas."""

from collections.abc import Sequence
from typing import Any

import falcon
from sqlalchemy.orm import Session

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.control.errors import InvalidInput
from isthmus.control.identity import Caller
from isthmus.migration.api import views
from isthmus.migration.api.actions import action_of, wrapped
from isthmus.migration.api.queries import flag, page_of
from isthmus.migration.api.schemas import Cancel, DeploymentCreate, Retry
from isthmus.migration.api.service import Service, new_id
from isthmus.migration.api.transfers import check_known, new_execution, pool_wishes
from isthmus.migration.model import ACTIVE, ExecutionStatus, ExecutionType
from isthmus.migration.store import pools, reading, requests, retrying
from isthmus.migration.store.paging import Page
from isthmus.migration.tables import DeploymentRow, ExecutionRow, TransferRow


class Deployments:
    """GET and POST deployments."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List the project's deployments; tasks and `info` only with include_task_info, as in Coriolis."""
        caller = self._service.allow(req, "deployments:list")
        whole = flag(req, "include_task_info")
        with self._service.database.transaction() as session:
            rows = reading.deployments(session, caller.project_id, page_of(req))
            parents = reading.transfers_by_id(session, [row.transfer_id for row in rows])
            runs = _runs(session, caller, rows) if whole else []
            resp.media = {
                "deployments": [
                    views.deployment(
                        row,
                        parents[row.transfer_id],
                        [run for run in runs if run.action_id == row.id] if whole else None,
                        with_info=whole,
                    )
                    for row in rows
                ]
            }

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer deployments/detail, which is the same list."""
        self.on_get(req, resp)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Start a deployment of a transfer whose last execution is COMPLETED, or of any with `force`."""
        caller = self._service.allow(req, "deployments:create")
        wanted = parse(DeploymentCreate, wrapped(self._service.body(req), "deployment"), "deployment")
        with self._service.database.transaction() as session:
            reading.transfer(session, caller.project_id, wanted.transfer_id)
        if wanted.luks_secret_ref is not None:
            self._service.vault.check(caller, wanted.luks_secret_ref)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, wanted.transfer_id)
            _check_test(transfer, wanted)
            row = _row(caller, trust_id, transfer, wanted)
            _check_pools(session, transfer, row)
            kind = ExecutionType.DEPLOYMENT
            run = new_execution(caller, row.id, kind, hold_on_error=wanted.hold_on_error)
            requests.start_deployment(session, transfer, row, run)
            resp.media = {"deployment": views.deployment(row, transfer, [run])}


class Deployment:
    """GET and DELETE of one deployment."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, deployment_id: str) -> None:
        """Show a deployment with its tasks."""
        caller = self._service.allow(req, "deployments:show")
        with self._service.database.transaction() as session:
            row = reading.deployment(session, caller.project_id, deployment_id)
            parent = reading.transfers_by_id(session, [row.transfer_id])[row.transfer_id]
            runs = _runs(session, caller, [row])
            resp.media = {"deployment": views.deployment(row, parent, runs, with_info=flag(req, "include_task_info"))}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, deployment_id: str) -> None:
        """Hide a deployment that has ended; the machines it made stay."""
        caller = self._service.allow(req, "deployments:delete")
        with self._service.database.transaction() as session:
            row = requests.claim_deployment(session, caller.project_id, deployment_id)
            requests.delete_deployment(row, utc_now())
        resp.status = 204


class DeploymentActions:
    """POST deployments/{id}/actions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response, deployment_id: str) -> None:
        """Cancel an active deployment; what it began is undone first, unless forced. Or retry one that has failed."""
        body = self._service.body(req)
        if "retry" in body:
            self._retry(req, resp, body, deployment_id)
            return
        caller = self._service.allow(req, "deployments:cancel")
        wanted = parse(Cancel, body[action_of(body, "cancel", "retry")] or {}, "cancel")
        with self._service.database.transaction() as session:
            row = requests.claim_deployment(session, caller.project_id, deployment_id)
            runs = _runs(session, caller, [row])
            if not runs:
                raise InvalidInput(f"deployment {row.id} has no execution to cancel; wait until it has started")
            requests.cancel_execution(session, runs[0], force=wanted.force, now=utc_now())
        resp.status = 204

    def _retry(self, req: falcon.Request, resp: falcon.Response, body: dict[str, Any], deployment_id: str) -> None:
        """Run the held steps of a deployment under way again, or start one of the instances that failed in this one."""
        caller = self._service.allow(req, "deployments:retry")
        wanted = parse(Retry, body[action_of(body, "retry")] or {}, "retry")
        with self._service.database.transaction() as session:
            transfer_id = reading.deployment(session, caller.project_id, deployment_id).transfer_id
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            old = reading.deployment(session, caller.project_id, deployment_id)
            runs = _runs(session, caller, [old])
            if old.last_execution_status in ACTIVE and runs:
                retrying.retry_held(session, runs[0], wanted.instances, utc_now())
                resp.media = {"deployment": views.deployment(old, transfer, runs)}
                return
            transfer.trust_id = trust_id
            run = new_execution(caller, "", ExecutionType.DEPLOYMENT)
            row = retrying.retry_deployment(session, transfer, old, run, wanted.instances, new_id=new_id())
            resp.media = {"deployment": views.deployment(row, transfer, [run])}


def _runs(session: Session, caller: Caller, rows: Sequence[DeploymentRow]) -> Sequence[ExecutionRow]:
    return reading.executions(session, caller.project_id, [row.id for row in rows], Page(), with_tasks=True)


def _check_test(transfer: TransferRow, wanted: DeploymentCreate) -> None:
    """Return if a test can do no harm: it works on clones, on a network that the transfer does not lead to."""
    if wanted.test is None:
        return
    if not wanted.clone_disks:
        raise InvalidInput("a test works on clones of the disks: leave clone_disks out, or set it to true")
    used = set(map(str, (transfer.network_map or {}).values()))
    if wanted.test.network in used:
        raise InvalidInput(
            f"network {wanted.test.network} is where the transfer's machines will live: name an isolated one"
        )


def _check_pools(session: Session, transfer: TransferRow, row: DeploymentRow) -> None:
    values = {
        "origin_minion_pool_id": None,
        "destination_minion_pool_id": None,
        "instance_osmorphing_minion_pool_mappings": row.instance_osmorphing_minion_pool_mappings,
    }
    pools.check_wishes(
        session,
        row.project_id,
        pool_wishes(values, transfer.instances),
        origin_endpoint=transfer.origin_endpoint_id,
        destination_endpoint=transfer.destination_endpoint_id,
    )


def _row(caller: Caller, trust_id: str | None, transfer: TransferRow, wanted: DeploymentCreate) -> DeploymentRow:
    check_known(wanted.user_scripts.instances, transfer.instances, "deployment.user_scripts.instances")
    check_known(wanted.instances or (), transfer.instances, "deployment.instances")
    mappings = wanted.instance_osmorphing_minion_pool_mappings
    if mappings is None:
        mappings = transfer.instance_osmorphing_minion_pool_mappings or {}
    own_scripts = wanted.user_scripts.everywhere or wanted.user_scripts.instances
    return DeploymentRow(
        id=new_id(),
        project_id=caller.project_id,
        user_id=caller.user_id,
        trust_id=trust_id,
        transfer_id=transfer.id,
        instances=list(wanted.instances or transfer.instances),
        clone_disks=wanted.clone_disks,
        force=wanted.force,
        test=wanted.test.model_dump() if wanted.test else None,
        luks_secret_ref=wanted.luks_secret_ref or transfer.destination_environment.get("luks_secret_ref"),
        skip_os_morphing=wanted.skip_os_morphing,
        instance_osmorphing_minion_pool_mappings=dict(mappings),
        user_scripts=wanted.user_scripts.as_stored() if own_scripts else transfer.user_scripts,
        last_execution_status=ExecutionStatus.RUNNING,
        info={},
        created_at=utc_now(),
    )
