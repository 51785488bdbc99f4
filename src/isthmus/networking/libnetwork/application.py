"""Docker's plugin API: `POST /Interface.Method` with JSON, on a socket that only root can open.

A refusal has HTTP status 4xx or 5xx, and its message under both keys that engines read (`Err`, and `Error` of the IPAM
interface). It is never 404, which to an engine says that the method does not exist.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import falcon

from isthmus.control.bodies import parse
from isthmus.control.errors import InputTooLarge, InvalidInput, IsthmusError
from isthmus.networking.attaching.contract import Agent
from isthmus.networking.libnetwork import messages
from isthmus.networking.libnetwork.addresses import Addresses
from isthmus.networking.libnetwork.connectivity import Connectivity
from isthmus.networking.libnetwork.endpoints import Endpoints
from isthmus.networking.libnetwork.leftovers import start_sweeping
from isthmus.networking.libnetwork.messages import Answer, Message
from isthmus.networking.libnetwork.networks import Networks
from isthmus.networking.libnetwork.pools import LOCAL_SPACE, SWARM_SPACE, Pools
from isthmus.networking.libnetwork.records import Records

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
_LONGEST_BODY = 1 << 20

Wsgi = falcon.App[falcon.Request, falcon.Response]


@dataclass(frozen=True)
class Method:
    """A method of the protocol: how its request is parsed and what answers it; None is answered as `{}`."""

    message: type[Message]
    answer: Callable[[Any], Answer | None]


def make_application(agent: Agent) -> Wsgi:
    """Return the WSGI application of the plugin's socket; `conf.state_dir` keeps its records."""
    driver = Driver(agent, Records(Path(agent.conf.state_dir) / "libnetwork.sqlite"))
    start_sweeping(agent, driver.networks, driver.connectivity, driver.addresses)
    return serve(driver.methods())


def serve(methods: dict[str, Method]) -> Wsgi:
    """Return a WSGI application of methods by name (`NetworkDriver.Join`)."""
    app: Wsgi = falcon.App()
    app.add_route("/{method}", _Resource(methods))
    app.add_error_handler(Exception, _unforeseen)
    app.add_error_handler(falcon.HTTPError, _falcons)
    app.add_error_handler(IsthmusError, _refuse)
    return app


class Driver:
    """Both interfaces of the protocol over one agent."""

    def __init__(self, agent: Agent, records: Records) -> None:
        self._scope = str(agent.conf.network_agent.docker_scope)
        self._pools = Pools(agent, records)
        self.networks = Networks(agent, records)
        self.addresses = Addresses(agent, records, self._pools)
        self._endpoints = Endpoints(agent, self.networks)
        self.connectivity = Connectivity(agent, records, self.networks)

    def methods(self) -> dict[str, Method]:
        """Return every method by its name."""
        return {
            "Plugin.Activate": Method(messages.Empty, lambda _: {"Implements": ["NetworkDriver", "IpamDriver"]}),
            **{f"NetworkDriver.{name}": method for name, method in self._network_driver().items()},
            **{f"IpamDriver.{name}": method for name, method in self._ipam_driver().items()},
        }

    def _network_driver(self) -> dict[str, Method]:
        endpoints, networks, nothing = self._endpoints, self.networks, Method(messages.Empty, lambda _: None)
        return {
            "GetCapabilities": Method(messages.Empty, lambda _: self._capabilities()),
            "GwAllocCheck": Method(messages.GatewayCheck, self._gateway_check),
            "AllocateNetwork": Method(messages.CreateNetwork, self._allocate),
            "FreeNetwork": Method(messages.OneNetwork, lambda each: networks.free(each.network_id)),
            "CreateNetwork": Method(messages.CreateNetwork, networks.create),
            "DeleteNetwork": Method(messages.OneNetwork, lambda each: networks.delete(each.network_id)),
            "CreateEndpoint": Method(messages.CreateEndpoint, endpoints.create),
            "EndpointOperInfo": Method(messages.OneEndpoint, endpoints.info),
            "DeleteEndpoint": Method(messages.OneEndpoint, self._delete_endpoint),
            "Join": Method(messages.Join, endpoints.join),
            "Leave": Method(messages.OneEndpoint, endpoints.leave),
            "DiscoverNew": nothing,
            "DiscoverDelete": nothing,
            "ProgramExternalConnectivity": Method(messages.Join, self.connectivity.program),
            "RevokeExternalConnectivity": Method(messages.OneEndpoint, self.connectivity.revoke),
        }

    def _ipam_driver(self) -> dict[str, Method]:
        spaces = {"LocalDefaultAddressSpace": LOCAL_SPACE, "GlobalDefaultAddressSpace": SWARM_SPACE}
        # The MAC address is the port's. Were it asked for, Docker would invent one for every warm port.
        needs = {"RequiresMACAddress": False, "RequiresRequestReplay": False}
        return {
            "GetCapabilities": Method(messages.Empty, lambda _: needs),
            "GetDefaultAddressSpaces": Method(messages.Empty, lambda _: spaces),
            "RequestPool": Method(messages.RequestPool, self._pools.request),
            "ReleasePool": Method(messages.ReleasePool, lambda each: self._pools.release(each.pool_id)),
            "RequestAddress": Method(
                messages.RequestAddress, lambda each: {"Address": self.addresses.request(each), "Data": {}}
            ),
            "ReleaseAddress": Method(messages.ReleaseAddress, self.addresses.release),
        }

    def _capabilities(self) -> Answer:
        # Neutron's networks reach every host, whatever the scope of Docker's.
        return {"Scope": self._scope, "ConnectivityScope": "global", "GwAllocChecker": True}

    def _gateway_check(self, request: messages.GatewayCheck) -> Answer:
        missing = self.networks.all_gateways_missing
        return {"SkipIPv4": missing(request.options, 4), "SkipIPv6": missing(request.options, 6)}

    def _allocate(self, request: messages.CreateNetwork) -> Answer:
        self.networks.create(request, for_swarm=True)
        return {"Options": {key: value for key, value in request.options.items() if isinstance(value, str)}}

    def _delete_endpoint(self, request: messages.OneEndpoint) -> None:
        # An engine that died may not have revoked what it programmed.
        self.connectivity.revoke(request)
        self._endpoints.delete(request)


class _Resource:
    def __init__(self, methods: dict[str, Method]) -> None:
        self._methods = methods

    def on_post(self, req: falcon.Request, resp: falcon.Response, method: str) -> None:
        found = self._methods.get(method)
        if found is None:
            raise falcon.HTTPNotFound
        answer = found.answer(parse(found.message, _body(req), method))
        log.debug("%s is answered", method)
        _write(resp, 200, answer or {})


def _body(req: falcon.Request) -> dict[str, Any]:
    # Docker names its own media type, or none; what comes on this socket is JSON or an error.
    stream = req.bounded_stream if req.content_length is not None else req.stream
    raw = stream.read(_LONGEST_BODY + 1)
    if len(raw) > _LONGEST_BODY:
        raise InputTooLarge(f"the request has more than {_LONGEST_BODY} bytes, the most that is accepted")
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        raise InvalidInput("the request is no JSON in UTF-8; this socket speaks Docker's plugin protocol") from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise InvalidInput("the request is no JSON object; this socket speaks Docker's plugin protocol")
    return body


def _write(resp: falcon.Response, status: int, answer: Answer) -> None:
    resp.status = status
    resp.content_type = MEDIA_TYPE
    resp.text = json.dumps(answer)


def _failure(resp: falcon.Response, status: int, message: str) -> None:
    _write(resp, status, {"Err": message, "Error": message})


def _refuse(req: falcon.Request, resp: falcon.Response, error: IsthmusError, params: dict[str, Any]) -> None:
    del params
    log.warning("%s is refused: %s", req.path, error.message)
    _failure(resp, 400 if error.status == 404 else error.status, error.message)


def _falcons(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, params: dict[str, Any]) -> None:
    del params
    _failure(resp, error.status_code, f"{req.method} {req.path} is no method of Docker's plugin protocol")


def _unforeseen(req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]) -> None:
    del params
    log.error("%s failed", req.path, exc_info=error)
    _failure(resp, 500, f"Isthmus failed at {req.path} in a way it did not foresee; its log tells more")
