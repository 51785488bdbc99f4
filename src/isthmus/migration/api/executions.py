"""Executions of a transfer: each brings its replicas to one new point in time, or deletes them."""

from typing import Any

import falcon

from isthmus.control.bodies import parse
from isthmus.control.database import utc_now
from isthmus.migration.api import views
from isthmus.migration.api.actions import action_of
from isthmus.migration.api.queries import page_of
from isthmus.migration.api.schemas import ExecutionCancel, ExecutionCreate, Retry
from isthmus.migration.api.service import Service
from isthmus.migration.api.transfers import check_known, new_execution
from isthmus.migration.model import ACTIVE, ExecutionType
from isthmus.migration.store import reading, requests, retrying


class Executions:
    """GET and POST transfers/{id}/executions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """List a transfer's executions, without tasks."""
        self._list(req, resp, transfer_id, with_tasks=False)

    def on_get_detail(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """List a transfer's executions with their tasks."""
        self._list(req, resp, transfer_id, with_tasks=True)

    def _list(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, *, with_tasks: bool) -> None:
        caller = self._service.allow(req, "transfer_executions:list")
        with self._service.database.transaction() as session:
            transfer = reading.transfer(session, caller.project_id, transfer_id)
            rows = reading.executions(session, caller.project_id, [transfer.id], page_of(req), with_tasks=with_tasks)
            resp.media = {"executions": [views.execution(row, with_tasks=with_tasks) for row in rows]}

    def on_post(self, req: falcon.Request, resp: falcon.Response, transfer_id: str) -> None:
        """Start an execution; while another one, or a deployment, is under way the answer is 409."""
        caller = self._service.allow(req, "transfer_executions:create")
        wanted = parse(ExecutionCreate, self._service.body(req).get("execution") or {}, "execution")
        with self._service.database.transaction() as session:
            reading.transfer(session, caller.project_id, transfer_id)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            transfer.trust_id = trust_id
            check_known(wanted.instances or (), transfer.instances, "execution.instances")
            run = requests.start_execution(
                session,
                transfer,
                new_execution(
                    caller,
                    transfer_id,
                    ExecutionType.TRANSFER_EXECUTION,
                    shutdown_instances=wanted.shutdown_instances,
                    auto_deploy=wanted.auto_deploy,
                    instances=wanted.instances,
                    keep_partial=wanted.keep_partial,
                    hold_on_error=wanted.hold_on_error,
                ),
            )
            resp.media = {"execution": views.execution(run, with_tasks=True)}


class Execution:
    """GET and DELETE of one execution."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, execution_id: str) -> None:
        """Show an execution with its tasks."""
        caller = self._service.allow(req, "transfer_executions:show")
        with self._service.database.transaction() as session:
            row = reading.execution(session, caller.project_id, transfer_id, execution_id)
            resp.media = {"execution": views.execution(row, with_tasks=True)}

    def on_delete(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, execution_id: str) -> None:
        """Hide an execution that has ended."""
        caller = self._service.allow(req, "transfer_executions:delete")
        with self._service.database.transaction() as session:
            requests.claim_transfer(session, caller.project_id, transfer_id)
            row = reading.execution(session, caller.project_id, transfer_id, execution_id)
            requests.delete_execution(row, utc_now())
        resp.status = 204


class ExecutionActions:
    """POST transfers/{id}/executions/{id}/actions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response, transfer_id: str, execution_id: str) -> None:
        """Cancel an active execution; what it began is undone first, unless forced. Or retry one that has failed."""
        body = self._service.body(req)
        if "retry" in body:
            self._retry(req, resp, body, (transfer_id, execution_id))
            return
        caller = self._service.allow(req, "transfer_executions:cancel")
        wanted = parse(ExecutionCancel, body[action_of(body, "cancel", "retry")] or {}, "cancel")
        with self._service.database.transaction() as session:
            requests.claim_transfer(session, caller.project_id, transfer_id)
            row = reading.execution(session, caller.project_id, transfer_id, execution_id)
            requests.cancel_execution(session, row, force=wanted.force, keep=wanted.keep, now=utc_now())
        resp.status = 204

    def _retry(self, req: falcon.Request, resp: falcon.Response, body: dict[str, Any], which: tuple[str, str]) -> None:
        """Run the held steps of an execution under way again, or start one of the instances that failed in this one."""
        transfer_id, execution_id = which
        caller = self._service.allow(req, "transfer_executions:retry")
        wanted = parse(Retry, body[action_of(body, "retry")] or {}, "retry")
        with self._service.database.transaction() as session:
            reading.execution(session, caller.project_id, transfer_id, execution_id)
        trust_id = self._service.trusts(caller)
        with self._service.database.transaction() as session:
            transfer = requests.claim_transfer(session, caller.project_id, transfer_id)
            row = reading.execution(session, caller.project_id, transfer_id, execution_id)
            if row.status in ACTIVE:
                retrying.retry_held(session, row, wanted.instances, utc_now())
                resp.media = {"execution": views.execution(row, with_tasks=True)}
                return
            transfer.trust_id = trust_id
            run = new_execution(caller, transfer_id, ExecutionType(row.type))
            retrying.retry_execution(session, transfer, row, run, wanted.instances)
            resp.media = {"execution": views.execution(run, with_tasks=True)}
