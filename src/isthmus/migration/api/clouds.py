"""What an endpoint's cloud has: instances, networks, storage, options. Each is asked of a worker near that cloud."""

from typing import Any

import falcon

from isthmus.control.errors import NotFound
from isthmus.control.identity import Caller
from isthmus.migration import patterns
from isthmus.migration.api import inventory, views
from isthmus.migration.api.environments import check_destination, check_side, check_source
from isthmus.migration.api.queries import decode, environment_of, flag, limit_of, names_of, text
from isthmus.migration.api.service import Service
from isthmus.migration.model import PoolPlatform
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.store import endpoints as store
from isthmus.migration.tables import EndpointRow


class _Cloud:
    """One endpoint's cloud."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def _endpoint(self, req: falcon.Request, operation: str, endpoint_id: str) -> tuple[Caller, EndpointRow]:
        caller = self._service.allow(req, f"endpoints:{operation}")
        with self._service.database.transaction() as session:
            return caller, store.get(session, caller.project_id, endpoint_id)


class EndpointInstances(_Cloud):
    """GET endpoints/{id}/instances."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """List machines ordered by id; `name` is a regular expression, `marker` the last id already seen."""
        caller, row = self._endpoint(req, "list_instances", endpoint_id)
        _check_source(req, row)
        marker, name, limit = text(req, "marker"), text(req, "name"), limit_of(req)
        patterns.names(name)
        flag(req, "refresh")  # nothing is cached: every listing is fresh
        answer = self._service.ask(caller, row, "list_machines", {"name": name})
        found = _behind(answer["machines"], marker)
        resp.media = {"instances": [views.instance(each) for each in found[:limit]]}


class EndpointInstance(_Cloud):
    """GET endpoints/{id}/instances/{base64 of the machine's id or name}."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str, instance: str) -> None:
        """Show one machine whole."""
        caller, row = self._endpoint(req, "get_instance", endpoint_id)
        _check_source(req, row)
        wanted = decode(instance, "the instance in the URL")
        resp.media = {
            "instance": views.instance(self._service.ask(caller, row, "get_machine", {"instance": wanted})["machine"])
        }


class EndpointNetworks(_Cloud):
    """GET endpoints/{id}/networks."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """List networks."""
        caller, row = self._endpoint(req, "list_networks", endpoint_id)
        _check_destination(req, row)
        resp.media = {"networks": self._service.ask(caller, row, "list_networks")["networks"]}


class EndpointStorage(_Cloud):
    """GET endpoints/{id}/storage."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """List storage back ends."""
        caller, row = self._endpoint(req, "list_storage", endpoint_id)
        _check_destination(req, row)
        resp.media = {"storage": views.storage(self._service.ask(caller, row, "list_storage"))}


class EndpointSourceOptions(_Cloud):
    """GET endpoints/{id}/source-options."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Show the keys of the source environment with the values that are possible now."""
        caller, row = self._endpoint(req, "list_source_options", endpoint_id)
        environment = _check_source(req, row)
        answer = self._service.ask(caller, row, "source_options", {"environment": environment})
        resp.media = {"source_options": _chosen(req, answer["options"])}


class EndpointDestinationOptions(_Cloud):
    """GET endpoints/{id}/destination-options."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Show the keys of the destination environment with the values that are possible now."""
        caller, row = self._endpoint(req, "list_destination_options", endpoint_id)
        environment = _check_destination(req, row)
        answer = self._service.ask(caller, row, "destination_options", {"environment": environment})
        resp.media = {"destination_options": _chosen(req, answer["options"])}


class EndpointMinionPoolOptions(_Cloud):
    """GET endpoints/{id}/source-minion-pool-options and destination-minion-pool-options."""

    def __init__(self, service: Service, platform: PoolPlatform) -> None:
        super().__init__(service)
        self._platform = platform

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Show the keys of a pool's environment: none, as no provider needs machines of a pool's own."""
        _, row = self._endpoint(req, f"list_{self._platform}_minion_pool_options", endpoint_id)
        check_side(provider_class(row.type), self._platform)
        environment_of(req)
        names_of(req)
        resp.media = {f"{self._platform}_minion_pool_options": []}


class EndpointInventory(_Cloud):
    """GET endpoints/{id}/inventory."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, endpoint_id: str) -> None:
        """Show all machines as CSV, one line each."""
        caller, row = self._endpoint(req, "export_inventory", endpoint_id)
        _check_source(req, row)
        machines = self._service.ask(caller, row, "inventory")["machines"]
        # Only now: a fault is JSON.
        resp.content_type = "text/csv; charset=utf-8"
        resp.set_header("Content-Disposition", f'attachment; filename="inventory-{row.id}.csv"')
        resp.text = inventory.table(machines)


def _behind(machines: list[dict[str, Any]], marker: str | None) -> list[dict[str, Any]]:
    """Return the machines after the one with the marker's id; `NotFound` if there is none."""
    if marker is None:
        return machines
    for place, each in enumerate(machines, 1):
        if each["id"] == marker:
            return machines[place:]
    raise NotFound(f"the marker {marker} is not in this listing; start without a marker")


def _check_source(req: falcon.Request, row: EndpointRow) -> dict[str, Any]:
    environment = environment_of(req)
    if environment:
        check_source(provider_class(row.type), environment, whole=False)
    return environment


def _check_destination(req: falcon.Request, row: EndpointRow) -> dict[str, Any]:
    environment = environment_of(req)
    if environment:
        check_destination(provider_class(row.type), environment, whole=False)
    return environment


def _chosen(req: falcon.Request, options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = names_of(req)
    return [option for option in options if not names or option["name"] in names]
