"""GET providers and their schemas."""

import falcon

from isthmus.control.errors import InvalidInput, NotFound
from isthmus.migration.api.environments import POOL_SCHEMA
from isthmus.migration.api.service import Service
from isthmus.migration.providers import registry
from isthmus.migration.providers.contract import Capability, DestinationProvider, Provider, SourceProvider
from isthmus.migration.workflows.capabilities import Derived, shown_bits


class Providers:
    """GET providers."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the platforms with their capability bits."""
        self._service.allow(req, "providers:list")
        resp.media = {"providers": {name: {"types": shown_bits(each)} for name, each in registry.platforms().items()}}


class ProviderSchemas:
    """GET providers/{platform}/schemas/{type}."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def on_get(self, req: falcon.Request, resp: falcon.Response, platform: str, bit: str) -> None:
        """Show the JSON schema that belongs to one capability: 16 connection, 8 source, 4 destination."""
        self._service.allow(req, "providers:show_schemas")
        try:
            provider = registry.provider_class(platform)
        except InvalidInput as error:
            raise NotFound(error.message) from None
        resp.media = {"schemas": _schemas(provider, platform, bit)}


def _schemas(provider: type[Provider], platform: str, bit: str) -> dict[str, object]:
    source, destination = issubclass(provider, SourceProvider), issubclass(provider, DestinationProvider)
    if bit == str(Capability.ENDPOINT.value):
        return {"connection_info_schema": provider.connection_schema()}
    if bit == str(Capability.TRANSFER_EXPORT.value) and issubclass(provider, SourceProvider):
        return {"source_environment_schema": provider.source_schema()}
    if bit == str(Capability.TRANSFER_IMPORT.value) and issubclass(provider, DestinationProvider):
        return {"destination_environment_schema": provider.destination_schema()}
    if bit == str(Derived.SOURCE_MINION_POOL.value) and source:
        return {"source_minion_pool_environment_schema": POOL_SCHEMA}
    if bit == str(Derived.DESTINATION_MINION_POOL.value) and destination:
        return {"destination_minion_pool_environment_schema": POOL_SCHEMA}
    raise NotFound(
        f"{platform} has no schemas of type {bit}; 16 is the connection, 8 the source, 4 the destination, 524288 and "
        "1048576 the minion pools beside them"
    )
