"""Plans: the very steps that an execution would run. Nothing is changed."""

import falcon

from isthmus.control.bodies import parse
from isthmus.migration.api.actions import wrapped
from isthmus.migration.api.assessment_schemas import PlanCreate
from isthmus.migration.api.planned import planned
from isthmus.migration.api.service import Service
from isthmus.migration.api.transfers import checked_ends, transfer_row, without_doubles


class Plans:
    """POST plans: the plan of a transfer that is not made."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Check a transfer as if it were made, and return what executing it would do."""
        caller = self._service.allow(req, "transfers:plan")
        body = self._service.body(req)
        wrapped(body, "transfer")
        wanted = parse(PlanCreate, body, "body")
        asked = without_doubles(wanted.transfer)
        with self._service.database.transaction() as session:
            checked_ends(session, caller, asked)
            row = transfer_row(caller, None, asked)
            resp.media = {"plan": planned(session, row, wanted.execution)}
