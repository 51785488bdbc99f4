"""GET diagnostics: what each process of the installation tells of itself."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import falcon

from isthmus.control.database import utc_now
from isthmus.control.diagnostics import describe
from isthmus.control.errors import IsthmusError
from isthmus.control.queues import CONDUCTOR_QUEUE, host_queue
from isthmus.migration.api.service import Service
from isthmus.migration.api.worker_views import Shown, workers_of
from isthmus.migration.store import regions
from isthmus.migration.store.paging import Page
from isthmus.migration.store.workers import WORKER_BINARY

AT_ONCE = 16


class Diagnostics:
    """GET diagnostics."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show one record for this API, a conductor, and each host with a worker; a silent one says so."""
        self._service.allow(req, "diagnostics:get")
        with self._service.database.transaction() as session:
            workers = {row.host: row.specs for row in regions.services(session, Page())}
            shown = workers_of(session, list(workers), utc_now())
        asked = [("isthmus-conductor", CONDUCTOR_QUEUE, {}), *_workers(workers)]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = pool.map(lambda each: self._record(*each), asked)
            records = [{**describe("isthmus-api"), "error": None}, *answers]
            resp.media = {"diagnostics": [{**each, "workers": _own(each, shown)} for each in records]}

    def _record(self, application: str, queue: str, last: dict[str, Any]) -> dict[str, Any]:
        """Return a process' record of now; its last one, with the reason, if it does not answer."""
        try:
            return {**_EMPTY, **self._service.introduce(queue)["diagnostics"], "error": None}
        except IsthmusError as error:
            return {**_EMPTY, "application": application, **last, "error": error.message}


def _own(record: dict[str, Any], shown: Shown) -> list[dict[str, Any]]:
    is_worker = record["application"] == WORKER_BINARY
    return shown.get(str(record["hostname"]), []) if is_worker else []


_EMPTY: dict[str, Any] = {
    "application": None,
    "packages": [],
    "os_info": None,
    "hostname": None,
    "ip_addresses": [],
    "release_tag": None,
}


def _workers(known: dict[str, dict[str, Any]]) -> Sequence[tuple[str, str, dict[str, Any]]]:
    return [("isthmus-worker", host_queue(host), {"hostname": host, **last}) for host, last in sorted(known.items())]
