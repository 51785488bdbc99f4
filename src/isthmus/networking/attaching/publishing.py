"""Published ports: by a floating IP of the configured external network, else on this host (`attaching.forwarding`).

One floating IP for each attachment, found again by its description. A port published under its own number needs no
more than that; one under another number is a port forwarding, where Neutron offers these.
"""

import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address

from oslo_config.cfg import ConfigOpts

from isthmus.control.errors import IsthmusError, NotFound, NotSupported
from isthmus.networking.attaching.contract import Publishing
from isthmus.networking.attaching.forwarding import Forwards, Inside, inside_of
from isthmus.networking.attaching.parts import Parts
from isthmus.networking.model import Key, Port, PublishedPort, Row, State
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.neutron.parsing import Json
from isthmus.networking.neutron.time_left import within
from isthmus.networking.store.publications import Publication

_PENDING = "pending"
"""Stands for the id of a floating IP that is being made."""

log = logging.getLogger(__name__)


class HostPublishing(Publishing):
    """The published ports of this host's attachments."""

    def __init__(self, parts: Parts, conf: ConfigOpts) -> None:
        self._parts = parts
        self._external: str | None = conf.network_agent.external_network
        self._forwards = Forwards()

    def publish(self, key: Key, ports: Sequence[PublishedPort], deadline: float | None = None) -> None:
        """Make the attachment's published ports exactly these."""
        if not ports:
            self.revoke(key)
            return
        row = self._parts.attachments.find(key)
        if row is None or row.attachment.port is None:
            raise NotFound(f"nothing is attached under {key.id}; attach it before its ports are published")
        until = self._parts.deadline(deadline)
        with self._parts.locks.hold(("publish", key), until), within(until):
            if self._external:
                self._publish_by_floating_ip(row, row.attachment.port, ports, self._external)
            else:
                self._forwards.replace(key, ports, _inside_of(row))
                self._parts.publications.replace(key, [Publication(key, each) for each in ports])

    def restore(self) -> None:
        """Forward again what should be forwarded and is not: after a start, or once a container is back."""
        wanted: dict[Key, list[Publication]] = {}
        for each in self._parts.publications.list_all():
            wanted.setdefault(each.key, []).append(each)
        for key, found in wanted.items():
            try:
                self._restore_one(key, found)
            except IsthmusError as error:
                log.warning("the published ports of %s are not forwarded: %s", key.id, error.message)

    def _restore_one(self, key: Key, found: Sequence[Publication]) -> None:
        row = self._parts.attachments.find(key)
        if row is None:
            self.revoke(key)
            return
        if row.attachment.port is None or row.attachment.state is not State.PLUGGED:
            return
        ports = [each.port for each in found]
        if not any(each.far for each in found):
            if not self._forwards.has(key):
                self._forwards.replace(key, ports, _inside_of(row))
                log.info("the published ports of %s are forwarded again", key.id)
        elif self._external and any(each.far == _PENDING for each in found):
            self._finish_pending(row, row.attachment.port, self._external)

    def _finish_pending(self, row: Row, port: Port, external: str) -> None:
        """Publish what an agent that was killed, or that had no answer, wrote down and did not end."""
        until = self._parts.deadline(None)
        with self._parts.locks.hold(("publish", row.key), until), within(until):
            found = self._parts.publications.list_all(row.key)
            if any(each.far == _PENDING for each in found):
                self._publish_by_floating_ip(row, port, [each.port for each in found], external)
                log.info("the published ports of %s have their floating IP now", row.key.id)

    def _publish_by_floating_ip(self, row: Row, port: Port, ports: Sequence[PublishedPort], external: str) -> None:
        neutron = self._parts.neutron(row.project)
        forwarded = any(each.host_port != each.container_port for each in ports)
        if forwarded and not neutron.has_extension("floating-ip-port-forwarding"):
            raise NotSupported(
                "this Neutron cannot publish a port under another number (floating-ip-port-forwarding); "
                "publish it under its own, as -p 80:80"
            )
        # Written down before it is made: an agent that is killed in between leaves no floating IP that nobody knows.
        self._parts.publications.replace(row.key, [Publication(row.key, each, _PENDING) for each in ports])
        floating = self._floating_ip(neutron, row.key, external)
        if forwarded:
            self._forward(neutron, floating, port, ports)
        elif floating.get("port_id") != port.id:
            neutron.update("floatingips", floating["id"], {"port_id": port.id})
        # Only now: what is cut off before is pending, and made an end of by `restore`.
        address = ip_address(floating["floating_ip_address"])
        kept = [Publication(row.key, replace(each, host_address=address), floating["id"]) for each in ports]
        self._parts.publications.replace(row.key, kept)

    def _floating_ip(self, neutron: Neutron, key: Key, external: str) -> Json:
        description = _description(self._parts.host, key)
        found = neutron.list("floatingips", {"description": description})
        if found:
            return found[0]
        network = neutron.find_network(external)
        return neutron.create(
            "floatingips",
            {"floating_network_id": network.id, "description": description},
            f"create a floating IP of {network.name}",
        )

    def _forward(self, neutron: Neutron, floating: Json, port: Port, ports: Sequence[PublishedPort]) -> None:
        kind = f"floatingips/{floating['id']}/port_forwardings"
        have = {(each["protocol"], each["external_port"]): each for each in neutron.list(kind)}
        inside = next((str(fixed.address) for fixed in port.fixed_ips if fixed.address.version == 4), None)
        if inside is None:
            raise NotSupported(f"port {port.id} has no IPv4 address, and floating IPs lead to none else")
        wanted = {(each.protocol, each.host_port) for each in ports}
        for what, one in have.items():
            if what not in wanted:
                neutron.delete(kind, one["id"])
        for each in ports:
            if (each.protocol, each.host_port) not in have:
                neutron.create(
                    kind,
                    {
                        "protocol": each.protocol,
                        "external_port": each.host_port,
                        "internal_port": each.container_port,
                        "internal_port_id": port.id,
                        "internal_ip_address": inside,
                    },
                    f"forward port {each.host_port} of {floating['floating_ip_address']}",
                )

    def revoke(self, key: Key) -> None:
        """Take all published ports of a key away."""
        found = self._parts.publications.list_all(key)
        if not found:
            return
        row = self._parts.attachments.find(key)
        with self._parts.locks.hold(("publish", key), self._parts.deadline(None)):
            self._forwards.replace(key, (), None)
            fars = {each.far for each in found if each.far}
            if fars:
                neutron = self._parts.neutron(row.project if row else self._parts.projects.names[0])
                if _PENDING in fars:
                    known = neutron.list("floatingips", {"description": _description(self._parts.host, key)})
                    fars = fars - {_PENDING} | {each["id"] for each in known}
                for floating_id in fars:
                    _delete_floating_ip(neutron, floating_id)
            self._parts.publications.replace(key, ())

    def published(self, key: Key) -> tuple[PublishedPort, ...]:
        """Return what is published, with the address it is reached by."""
        return tuple(each.port for each in self._parts.publications.list_all(key))


def _delete_floating_ip(neutron: Neutron, floating_id: str) -> None:
    """Delete a floating IP with its port forwardings, as Neutron refuses one that has any. Gone: success."""
    if neutron.has_extension("floating-ip-port-forwarding"):
        kind = f"floatingips/{floating_id}/port_forwardings"
        with contextlib.suppress(NotFound):
            for each in neutron.list(kind):
                neutron.delete(kind, each["id"])
    neutron.delete("floatingips", floating_id)


def _inside_of(row: Row) -> Inside:
    target, port = row.attachment.target, row.attachment.port
    return inside_of(target.netns if target else None, [fixed.address for fixed in port.fixed_ips] if port else [])


def _description(host: str, key: Key) -> str:
    return f"isthmus {host} {key.owner} {key.id}"[:255]
