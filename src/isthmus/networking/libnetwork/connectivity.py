"""What reaches an endpoint from outside (ProgramExternalConnectivity, RevokeExternalConnectivity).

Exposed ports (`EXPOSE`, `--expose`, `-p`) are opened by a security group of the port's own, as Kuryr does; published
ports (`-p`) are forwarded by `attaching`. `isthmus.expose=false` leaves the security groups alone.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from isthmus.control.errors import NotFound
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.libnetwork import names
from isthmus.networking.libnetwork.endpoints import endpoint_key
from isthmus.networking.libnetwork.messages import Join, OneEndpoint
from isthmus.networking.libnetwork.networks import Networks
from isthmus.networking.libnetwork.options import ExposedPort, endpoint_options, exposed_ports, published_ports
from isthmus.networking.libnetwork.records import ExposedRecord, Records
from isthmus.networking.model import Attachment


class Connectivity:
    """Exposed and published ports of endpoints."""

    def __init__(self, agent: Agent, records: Records, networks: Networks) -> None:
        self._agent = agent
        self._records = records
        self._networks = networks

    def program(self, request: Join) -> None:
        """Open what is exposed and forward what is published. Done already: success."""
        key = endpoint_key(request.endpoint_id)
        attachment = self._agent.attachments.find(key)
        if attachment is None or attachment.port is None:
            raise NotFound(f"endpoint {request.endpoint_id} has no port here; start the container again")
        published = published_ports(request.options)
        exposed = exposed_ports(request.options)
        own = endpoint_options(request.options).expose
        default = self._networks.find(request.network_id).endpoint.expose
        if exposed and (default if own is None else own) is not False:
            self._open(request.endpoint_id, attachment, exposed)
        if published:
            deadline = time.monotonic() + float(self._agent.conf.network_agent.attach_timeout)
            try:
                self._agent.publishing.publish(key, published, deadline)
            except Exception:
                self._close(request.endpoint_id)
                raise

    def revoke(self, request: OneEndpoint) -> None:
        """Take it all back. Nothing there: success."""
        self._agent.publishing.revoke(endpoint_key(request.endpoint_id))
        self._close(request.endpoint_id)

    def _open(self, endpoint_id: str, attachment: Attachment, exposed: Sequence[ExposedPort]) -> None:
        port = attachment.port
        if port is None or self._records.exposed(endpoint_id) is not None:
            return
        project = attachment.wish.project
        neutron = self._agent.neutron(project)
        name = names.exposing_group(port.id)
        group = next(iter(neutron.list("security-groups", {"name": name})), None)
        if group is None:
            body = {"name": name, "description": "Docker exposed ports created by Kuryr."}
            group = neutron.create("security-groups", body)
        # Written before the port has it: a crash from here on is undone by RevokeExternalConnectivity.
        record = ExposedRecord(endpoint_id, project, port.id, group["id"], port.security_groups)
        self._records.keep_exposed(record)
        try:
            for rule in rules(group["id"], exposed):
                neutron.create("security-group-rules", rule)
            neutron.update_port(port.id, {"security_groups": [*port.security_groups, group["id"]]})
        except Exception:
            self._close(endpoint_id)
            raise

    def _close(self, endpoint_id: str) -> None:
        record = self._records.exposed(endpoint_id)
        if record is None:
            return
        neutron = self._agent.neutron(record.project)
        with suppress(NotFound):
            neutron.update_port(record.port_id, {"security_groups": list(record.others)})
        neutron.delete("security-groups", record.group_id)
        self._records.forget_exposed(endpoint_id)


def rules(group: str, exposed: Sequence[ExposedPort]) -> list[dict[str, Any]]:
    """Return the rules that open ports to everybody, one for each run of ports and family of addresses."""
    found = []
    for protocol, ports in groupby(exposed, key=lambda each: each.protocol):
        numbers = [each.port for each in ports]
        for _, run in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
            part = [number for _, number in run]
            found += [
                {
                    "security_group_id": group,
                    "direction": "ingress",
                    "ethertype": family,
                    "protocol": str(protocol),
                    "port_range_min": part[0],
                    "port_range_max": part[-1],
                }
                for family in ("IPv4", "IPv6")
            ]
    return found
