"""`GET /health`: what the agent depends on, and what it holds."""

from collections import Counter

import falcon

from isthmus.networking.attaching.parts import Parts
from isthmus.networking.attaching.repairs import Repairs


class Health:
    """The resource. 200 if Open vSwitch and Neutron answered lately, else 503 with the same body."""

    def __init__(self, parts: Parts, repairs: Repairs) -> None:
        self._parts = parts
        self._repairs = repairs

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:  # noqa: ARG002 - Falcon's signature
        """Answer."""
        parts = self._parts
        rows = parts.attachments.list_all()
        last = self._repairs.last
        binding = {binder.name: binder.is_alive() for binder in parts.binders.in_use()}
        body = {
            "host": parts.host,
            "binding": binding,
            "neutron": dict(last.neutron),
            "neutron_left_alone": parts.projects.refusing(),
            "attachments": dict(Counter(row.attachment.state for row in rows)),
            "problems": {
                f"{row.key.owner}/{row.key.id}": row.attachment.problem for row in rows if row.attachment.problem
            },
            "unlabelled": sum(not row.labelled for row in rows),
            "spare_ports": dict(Counter(spare.fate for spare in parts.spares.list_all())),
            "pools": [
                {
                    "project": pool.project,
                    "network_id": pool.network_id,
                    "warm": parts.spares.count_warm().get(pool.pool, 0),
                }
                for pool in parts.spares.pools()
            ],
            "repairs": {"rounds": last.rounds, "mended": dict(last.mended)},
        }
        ok = all(binding.values()) and all(state == "ok" for state in last.neutron.values())
        resp.status = 200 if ok else 503
        resp.media = {"healthy": ok, **body}
