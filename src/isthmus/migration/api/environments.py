"""Connection details and environments against the providers' JSON schemas. Complaints name keys, never values."""

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError

from isthmus.control.errors import InvalidInput
from isthmus.migration.model import PoolPlatform
from isthmus.migration.providers.contract import DestinationProvider, Provider, SourceProvider
from isthmus.migration.providers.premises import refuse_operators_keys


def check_connection(provider: type[Provider], details: Mapping[str, Any]) -> None:
    """Return if the connection details fit; `InvalidInput` names the wrong keys."""
    refuse_operators_keys(provider.operators_keys, details)
    _check(provider.connection_schema(), details, "connection_info")


def check_source(provider: type[Provider], environment: Mapping[str, Any], *, whole: bool = True) -> None:
    """Return if the provider can be a source and the environment fits; `whole` asks for the required keys too."""
    if not issubclass(provider, SourceProvider):
        raise InvalidInput(f"{provider.platform} cannot be a source; see types in GET providers")
    _check(provider.source_schema(), environment, "source_environment", whole=whole)


def check_destination(provider: type[Provider], environment: Mapping[str, Any], *, whole: bool = True) -> None:
    """Return if the provider can be a destination and the environment fits; `whole` asks for the required keys too."""
    if not issubclass(provider, DestinationProvider):
        raise InvalidInput(f"{provider.platform} cannot be a destination; see types in GET providers")
    _check(provider.destination_schema(), environment, "destination_environment", whole=whole)


POOL_SCHEMA: Mapping[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "description": "Kept and shown, and of no effect: no provider needs machines for a pool.",
    "properties": {},
}
"""What a minion pool's environment may hold. Coriolis' client sends none that is empty, so anything goes."""


def check_side(provider: type[Provider], platform: PoolPlatform) -> None:
    """Return if the provider can be on that side of a transfer; `InvalidInput` if not."""
    role = SourceProvider if platform is PoolPlatform.SOURCE else DestinationProvider
    if not issubclass(provider, role):
        raise InvalidInput(f"{provider.platform} cannot be a {platform}; see types in GET providers")


def _check(schema: Mapping[str, Any], value: Mapping[str, Any], what: str, *, whole: bool = True) -> None:
    complaints = [
        f"{'.'.join([what, *map(str, error.absolute_path)])} {_complaint(error)}"
        for error in sorted(Draft7Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.path)))
        if whole or error.validator != "required"
    ]
    if complaints:
        raise InvalidInput(f"{'; '.join(complaints)}; see the provider's schemas")


def _complaint(error: ValidationError) -> str:
    # jsonschema's own messages quote the value, which may be a password.
    match error.validator:
        case "required":
            return f"lacks a key: {error.message}"
        case "additionalProperties":
            schema = error.schema if isinstance(error.schema, Mapping) else {}
            return f"has a key that is unknown; known are: {', '.join(sorted(schema.get('properties', {})))}"
        case "type":
            return f"must be of type {error.validator_value}"
        case "enum":
            return f"must be one of {error.validator_value}"
        case "oneOf" | "anyOf":
            return "fits none of the forms that the schema allows, or more than one"
        case _:
            return f"does not satisfy {error.validator} {error.validator_value}"
