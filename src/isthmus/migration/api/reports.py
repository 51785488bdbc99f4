"""Signed reports of what became of machines, and the key that they are signed with."""

import falcon
from sqlalchemy import select

from isthmus.control import signing
from isthmus.control.database import utc_now
from isthmus.control.errors import Conflict
from isthmus.migration.api.report_documents import document
from isthmus.migration.api.service import Service
from isthmus.migration.model import ACTIVE
from isthmus.migration.store import reading
from isthmus.migration.store.paging import Page
from isthmus.migration.tables import EndpointRow


class DeploymentReport:
    """GET deployments/{id}/report."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, deployment_id: str) -> None:
        """Give the report of each machine of an ended deployment with its signature, which is over the exact text."""
        caller = self._service.allow(req, "deployments:report")
        signer = self._service.signer
        with self._service.database.transaction() as session:
            row = reading.deployment(session, caller.project_id, deployment_id)
            if row.last_execution_status in ACTIVE:
                raise Conflict(
                    f"deployment {row.id} is {row.last_execution_status}; wait for its end, then it can be reported"
                )
            transfer = reading.transfers_by_id(session, [row.transfer_id])[row.transfer_id]
            executions = reading.executions(session, caller.project_id, [transfer.id], Page(), with_tasks=True)
            runs = reading.executions(session, caller.project_id, [row.id], Page(), with_tasks=True)
            ids = (transfer.origin_endpoint_id, transfer.destination_endpoint_id)
            ends = {each.id: each for each in session.scalars(select(EndpointRow).where(EndpointRow.id.in_(ids)))}
            texts = {
                instance: document(
                    instance,
                    transfer=transfer,
                    deployment=row,
                    ends=ends,
                    executions=executions,
                    runs=runs,
                    issued_at=utc_now(),
                    key_id=signer.key_id,
                )
                for instance in row.instances
            }
        resp.media = {
            "reports": [
                {
                    "instance": instance,
                    "document": text,
                    "signature": signer.sign(text.encode()),
                    "algorithm": signing.ALGORITHM,
                    "key_id": signer.key_id,
                }
                for instance, text in texts.items()
            ]
        }


class ReportKey:
    """GET report-key."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the public key that reports are signed with."""
        self._service.allow(req, "report_key:show")
        signer = self._service.signer
        resp.media = {
            "report_key": {
                "key_id": signer.key_id,
                "algorithm": signing.ALGORITHM,
                "public_key": signer.public_key,
            }
        }
