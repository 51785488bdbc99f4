"""What reaches an endpoint from outside (ProgramExternalConnectivity, RevokeExternalConnectivity).

Exposed ports (`EXPOSE`, `--expose`, `-p`) are opened by a security group of the port's own, as Kuryr does; published
ports (`-p`) are forwarded by `attaching`. `isthmus.expose=false` leaves the security groups alone.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
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
from isthmus.networking.neutron.time_left import within

_DESCRIPTION = "Docker exposed ports created by Kuryr."


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
        deadline = time.monotonic() + float(self._agent.conf.network_agent.attach_timeout)
        try:
            if exposed and (default if own is None else own) is not False:
                with within(deadline):
                    self._open(request.endpoint_id, attachment.wish.project, attachment.port.id, exposed)
            if published:
                self._agent.publishing.publish(key, published, deadline)
        except Exception:
            self.close(request.endpoint_id)
            raise

    def revoke(self, request: OneEndpoint) -> None:
        """Take it all back. Nothing there: success."""
        self._agent.publishing.revoke(endpoint_key(request.endpoint_id))
        self.close(request.endpoint_id)

    def _open(self, endpoint_id: str, project: str | None, port_id: str, exposed: Sequence[ExposedPort]) -> None:
        known = self._records.exposed(endpoint_id)
        if known is not None and known.group_id:
            return
        neutron = self._agent.neutron(project)
        stale = {each["id"] for each in neutron.list("security-groups", {"name": names.exposing_group(port_id)})}
        others = tuple(each for each in neutron.port(port_id).security_groups if each not in stale)
        # Written before Neutron makes it: a crash from here on is undone by RevokeExternalConnectivity.
        record = ExposedRecord(endpoint_id, project, port_id, "", others)
        self._records.keep_exposed(record)
        self._withdraw(record)
        group = neutron.create("security-groups", {"name": names.exposing_group(port_id), "description": _DESCRIPTION})
        neutron.create_all("security-group-rules", rules(group["id"], exposed))
        neutron.update_port(port_id, {"security_groups": [*record.others, group["id"]]})
        self._records.keep_exposed(replace(record, group_id=group["id"]))

    def close(self, endpoint_id: str) -> None:
        """Close what an endpoint exposed. Nothing open: success."""
        record = self._records.exposed(endpoint_id)
        if record is not None:
            self._withdraw(record)
            self._records.forget_exposed(endpoint_id)

    def close_leftovers(self) -> None:
        """Close what endpoints exposed that are not here any more."""
        for endpoint_id in self._records.exposed_endpoints():
            if self._agent.attachments.find(endpoint_key(endpoint_id)) is None:
                self.close(endpoint_id)

    def _withdraw(self, record: ExposedRecord) -> None:
        """Delete a port's group for exposed ports, made to the end or not. There is none: success."""
        neutron = self._agent.neutron(record.project)
        for group in neutron.list("security-groups", {"name": names.exposing_group(record.port_id)}):
            with suppress(NotFound):
                neutron.update_port(record.port_id, {"security_groups": list(record.others)})
            neutron.delete("security-groups", group["id"])


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
