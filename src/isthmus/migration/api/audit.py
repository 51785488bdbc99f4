"""Who did what: the audit records of the whole installation, for administrators."""

import falcon

from isthmus.control import audit_records
from isthmus.migration.api.queries import limit_of, text
from isthmus.migration.api.service import Service

FILTERS = ("user_id", "project_id", "object_id", "request_id", "service", "action", "outcome")
MOST = 1000


class AuditRecords:
    """GET audit."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """List records, the newest first, at most 1000 at a time; each of `FILTERS` must be equal where it is given."""
        self._service.allow(req, "audit:list")
        given = {name: text(req, name) for name in FILTERS}
        wanted = {name: value for name, value in given.items() if value is not None}
        limit = min(limit_of(req) or MOST, MOST)
        with self._service.database.transaction() as session:
            found = audit_records.fetch(session, wanted, text(req, "marker"), limit)
            resp.media = {"audit": [audit_records.shown(row) for row in found]}
