"""The answers to `AskProvider`: what a cloud has, as JSON-able facts."""

from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from isthmus.control.errors import InvalidInput, NotSupported
from isthmus.migration.providers.contract import DestinationProvider, Provider, SourceProvider
from isthmus.migration.workflows.calls import Inquiry, Question
from isthmus.migration.workflows.site import Clouds


def answer(inquiry: Inquiry, clouds: Clouds) -> dict[str, Any]:
    """Ask the cloud. Raises the provider's errors; `InvalidInput` for a question without its parameters."""
    with clouds.any(inquiry.endpoint, inquiry.trust_id) as provider:
        return _ask(provider, inquiry)


def _ask(provider: Provider, inquiry: Inquiry) -> dict[str, Any]:  # noqa: PLR0911 - one return for each question
    parameters = inquiry.parameters
    match inquiry.question:
        case Question.VALIDATE_CONNECTION:
            provider.validate_connection()
            return {}
        case Question.LIST_MACHINES:
            return {"machines": _facts(provider.list_machines(parameters.get("name")))}
        case Question.GET_MACHINE:
            if "instance" not in parameters:
                raise InvalidInput("the question get_machine needs the parameter instance: a machine's id or name")
            return {"machine": _facts([provider.get_machine(parameters["instance"])])[0]}
        case Question.INVENTORY:
            found = (provider.get_machine(each.id) for each in provider.list_machines())
            return {"machines": _facts(list(found))}
        case Question.LIST_NETWORKS:
            return {"networks": _facts(provider.list_networks())}
        case Question.LIST_STORAGE:
            backends, default = provider.list_storage()
            return {"storage_backends": _facts(backends), "config_default": default}
        case Question.SOURCE_OPTIONS if isinstance(provider, SourceProvider):
            return {"options": _facts(provider.source_options(parameters.get("environment") or {}))}
        case Question.DESTINATION_OPTIONS if isinstance(provider, DestinationProvider):
            return {"options": _facts(provider.destination_options(parameters.get("environment") or {}))}
    raise NotSupported(f"platform {provider.platform} does not answer {inquiry.question}; choose another endpoint")


def _facts(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(each) for each in found if is_dataclass(each) and not isinstance(each, type)]
