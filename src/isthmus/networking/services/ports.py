"""What the host's own programs ask on the agent's socket, `isthmus port` and the migration's worker among them.

Attach a tap, a namespace or an interface of the host to a port, at once or in two steps: reserve, and plug once the tap
is there.
"""

import time
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

import falcon
from pydantic import BaseModel, ConfigDict, Field

from isthmus.control.bodies import parse
from isthmus.control.errors import InvalidInput, NotFound
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.model import Attachment, Key, Label, Owner, Target, TargetKind, Wish
from isthmus.networking.neutron.client import Neutron
from isthmus.networking.neutron.time_left import within
from isthmus.networking.planning.interface import interface_configuration

InterfaceName = Annotated[str, Field(pattern=r"^[^\s/:]{1,15}$")]


class Place(BaseModel):
    """Where the near end is: a tap, an interface of a namespace, or an interface of the host."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["tap", "netns", "interface"]
    interface: InterfaceName
    netns: Annotated[str, Field(min_length=1, max_length=4000)] | None = None

    def target(self) -> Target:
        """Return it as a target. `InvalidInput` for a namespace too few or too many."""
        if (self.kind == "netns") != (self.netns is not None):
            raise InvalidInput("a namespace is named for an interface in one, and for nothing else; correct the call")
        netns = f"/run/netns/{self.netns}" if self.netns and "/" not in self.netns else self.netns
        return Target(TargetKind(self.kind), self.interface, netns)

    def key(self) -> Key:
        """Return the key of what is attached there."""
        target = self.target()
        return Key(Owner.HOST, "/".join(filter(None, (self.kind, (target.netns or "").strip("/"), self.interface))))


class AttachRequest(BaseModel):
    """The body of an attach or reserve call. `to` is a port's or a network's id or name.

    `project` is a name of `[network_agent] credentials`, `project_id` Keystone's id of a project that is among them.
    `name` is the port's in Neutron.
    """

    model_config = ConfigDict(extra="forbid")

    place: Place
    to: Annotated[str, Field(min_length=1, max_length=255)]
    project: str | None = None
    project_id: str | None = None
    name: Annotated[str, Field(max_length=255)] | None = None
    addresses: list[IPv4Address | IPv6Address] = []
    mac: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$")] | None = None
    security_groups: list[str] | None = None
    binder: str | None = None


class PlaceRequest(BaseModel):
    """The body of a call about what is attached somewhere."""

    model_config = ConfigDict(extra="forbid")

    place: Place


class Ports:
    """The calls, each a POST with JSON."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:  # noqa: ARG002 - Falcon's signature
        """Answer with all attachments of the host, of every owner."""
        resp.media = {"ports": [self._view(each) for each in self._agent.attachments.list_all()]}

    def on_post_attach(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Attach."""
        request = parse(AttachRequest, _body(req), "body")
        target = request.place.target()
        attachments = self._agent.attachments
        known = attachments.find(request.place.key())
        reserved = self._reserve(request)
        try:
            resp.media = {"port": self._view(attachments.plug(reserved.wish.key, target))}
        except Exception:
            if known is None:
                attachments.release(reserved.wish.key)
            raise

    def on_post_reserve(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Reserve a port for a place where nothing is yet. Reserved or attached already: the same."""
        request = parse(AttachRequest, _body(req), "body")
        request.place.target()  # refuses a place that is none
        resp.media = {"port": self._view(self._reserve(request))}

    def on_post_plug(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Plug what was reserved for a place. Plugged there already: the same."""
        place = parse(PlaceRequest, _body(req), "body").place
        resp.media = {"port": self._view(self._agent.attachments.plug(place.key(), place.target()))}

    def on_post_detach(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Detach; nothing there is success."""
        request = parse(PlaceRequest, _body(req), "body")
        self._agent.attachments.release(request.place.key())
        resp.media = {}

    def on_post_show(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with an attachment and what is wrong with it."""
        key = parse(PlaceRequest, _body(req), "body").place.key()
        found = self._agent.attachments.find(key)
        if found is None:
            raise NotFound(f"nothing is attached at {key.id}; `isthmus port list` shows what is")
        resp.media = {"port": {**self._view(found), "problems": list(self._agent.attachments.check(key))}}

    def _view(self, found: Attachment) -> dict[str, Any]:
        return {**view(found), "finish_checksums": self._agent.attachments.finishes_checksums(found.wish.binder)}

    def _reserve(self, request: AttachRequest) -> Attachment:
        deadline = time.monotonic() + float(self._agent.conf.network_agent.attach_timeout)
        with within(deadline):
            wish = self._wish(request)
        return self._agent.attachments.reserve(wish, deadline)

    def _wish(self, request: AttachRequest) -> Wish:
        project = self._agent.project_name(request.project, request.project_id)
        neutron = self._agent.neutron(project)
        key = request.place.key()
        port_id, network_id = _resolve(neutron, request.to)
        groups = request.security_groups
        return Wish(
            key=key,
            network_id=network_id,
            project=project,
            addresses=tuple(request.addresses),
            mac=request.mac,
            security_groups=None
            if groups is None
            else tuple(str(neutron.find("security-groups", each)["id"]) for each in groups),
            port_id=port_id,
            label=Label(
                request.name or f"{self._agent.host}-{request.place.interface}", f"{self._agent.host}/{key.id}"[:255]
            ),
            binder=request.binder,
        )


class ProjectNetworks:
    """`GET /networks?project_id=`: what a project's machines can be attached to."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with the networks that the project may use and that have a subnet."""
        project = self._agent.project_name(req.get_param("project"), req.get_param("project_id"))
        found = self._agent.neutron(project).networks()
        resp.media = {"networks": [{"id": each.id, "name": each.name} for each in found if each.subnets]}


def add_port_routes(app: "falcon.App[Any, Any]", agent: Agent) -> None:
    """Serve `isthmus port` and the worker."""
    ports = Ports(agent)
    app.add_route("/ports", ports)
    app.add_route("/networks", ProjectNetworks(agent))
    for call in ("attach", "reserve", "plug", "detach", "show"):
        app.add_route(f"/ports/{call}", ports, suffix=call)


def view(found: Attachment) -> dict[str, Any]:
    """Return an attachment as `isthmus port` shows it."""
    port, network, target = found.port, found.network, found.target
    wanted = interface_configuration(port, network) if port and network else None
    return {
        "owner": found.wish.key.owner,
        "id": found.wish.key.id,
        "state": found.state,
        "project": found.wish.project,
        "port_id": port.id if port else None,
        "network_id": found.wish.network_id,
        "network": network.name if network else None,
        "mac": port.mac if port else None,
        "mtu": wanted.mtu if wanted else None,
        "addresses": [f"{address}/{length}" for address, length in wanted.addresses] if wanted else [],
        "gateways": [str(gateway) for gateway in wanted.gateways] if wanted else [],
        "target": {"kind": target.kind, "interface": target.interface, "netns": target.netns} if target else None,
        "far_interface": found.far_interface,
        "problem": found.problem,
    }


def _resolve(neutron: Neutron, name_or_id: str) -> tuple[str | None, str]:
    """Return (port's id or None, network's id)."""
    try:
        port = neutron.find("ports", name_or_id)
    except NotFound:
        return None, neutron.find_network(name_or_id).id
    return str(port["id"]), str(port["network_id"])


def _body(req: falcon.Request) -> object:
    return req.get_media(default_when_empty={})
