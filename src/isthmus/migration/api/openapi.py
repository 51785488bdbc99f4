"""GET /v1/openapi.json: the API described by the very models that parse its bodies."""

from functools import cache
from typing import Any

import falcon
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from isthmus import __version__
from isthmus.migration.api.assessment_schemas import AssessmentCreate, PlanCreate
from isthmus.migration.api.schemas import (
    Cancel,
    Deallocate,
    DeploymentCreate,
    EndpointCreate,
    EndpointUpdate,
    ExecutionCancel,
    ExecutionCreate,
    Failback,
    MinionPoolCreate,
    MinionPoolUpdate,
    RegionCreate,
    RegionUpdate,
    Retry,
    ScheduleCreate,
    ScheduleUpdate,
    ServiceCreate,
    ServiceUpdate,
    TransferCreate,
    TransferUpdate,
    Verify,
)
from isthmus.migration.api.wave_schemas import Approve, WaveCreate, WaveUpdate

_ENDPOINT, _TRANSFER, _DEPLOYMENT = (
    "/endpoints/{endpoint_id}",
    "/transfers/{transfer_id}",
    "/deployments/{deployment_id}",
)
_EXECUTION = f"{_TRANSFER}/executions/{{execution_id}}"
_SCHEDULE = f"{_TRANSFER}/schedules/{{schedule_id}}"
_ASSESSMENT = "/assessments/{assessment_id}"
_REGION, _SERVICE, _POOL = "/regions/{region_id}", "/services/{service_id}", "/minion_pools/{pool_id}"
_WAVE = "/waves/{wave_id}"

# (method, path, what it does, the body's key, its model; None is a body whose key holds null; no key, no envelope)
_OPERATIONS: tuple[tuple[str, str, str, str | None, type[BaseModel] | None], ...] = (
    ("get", "/providers", "List providers", None, None),
    ("get", "/providers/{platform}/schemas/{type}", "Show a provider's schemas", None, None),
    ("get", "/endpoints", "List endpoints", None, None),
    ("post", "/endpoints", "Create an endpoint", "endpoint", EndpointCreate),
    ("get", _ENDPOINT, "Show an endpoint", None, None),
    ("put", _ENDPOINT, "Change an endpoint", "endpoint", EndpointUpdate),
    ("delete", _ENDPOINT, "Delete an endpoint", None, None),
    ("post", f"{_ENDPOINT}/actions", "Validate an endpoint's connection", "validate-connection", None),
    ("get", f"{_ENDPOINT}/instances", "List instances", None, None),
    ("get", f"{_ENDPOINT}/instances/{{instance}}", "Show an instance", None, None),
    ("get", f"{_ENDPOINT}/networks", "List networks", None, None),
    ("get", f"{_ENDPOINT}/storage", "List storage", None, None),
    ("get", f"{_ENDPOINT}/source-options", "List options of the source environment", None, None),
    ("get", f"{_ENDPOINT}/destination-options", "List options of the destination environment", None, None),
    ("get", f"{_ENDPOINT}/source-minion-pool-options", "List options of source pools", None, None),
    ("get", f"{_ENDPOINT}/destination-minion-pool-options", "List options of destination pools", None, None),
    ("get", f"{_ENDPOINT}/inventory", "Export all instances as CSV", None, None),
    ("get", "/assessments", "List assessments", None, None),
    ("post", "/assessments", "Begin an assessment", "assessment", AssessmentCreate),
    ("get", _ASSESSMENT, "Show an assessment", None, None),
    ("delete", _ASSESSMENT, "Delete an assessment", None, None),
    ("get", f"{_ASSESSMENT}/machines", "List an assessment's machines", None, None),
    ("get", "/events", "Follow what changes, as server-sent events", None, None),
    ("post", "/plans", "Plan a transfer that is not made", None, PlanCreate),
    ("get", "/transfers", "List transfers", None, None),
    ("get", "/transfers/detail", "List transfers", None, None),
    ("post", "/transfers", "Create a transfer", "transfer", TransferCreate),
    ("get", _TRANSFER, "Show a transfer", None, None),
    ("put", _TRANSFER, "Update a transfer", "transfer", TransferUpdate),
    ("delete", _TRANSFER, "Delete a transfer", None, None),
    ("post", f"{_TRANSFER}/actions", "Delete a transfer's disks", "delete-disks", None),
    ("post", f"{_TRANSFER}/actions", "Compare a transfer's replicas with their sources", "verify", Verify),
    ("post", f"{_TRANSFER}/actions", "Make the transfer that brings machines home", "failback", Failback),
    ("post", f"{_TRANSFER}/actions", "Show what an execution would do", "plan", ExecutionCreate),
    ("get", f"{_TRANSFER}/executions", "List executions", None, None),
    ("get", f"{_TRANSFER}/executions/detail", "List executions with their tasks", None, None),
    ("post", f"{_TRANSFER}/executions", "Execute a transfer", "execution", ExecutionCreate),
    ("get", _EXECUTION, "Show an execution", None, None),
    ("delete", _EXECUTION, "Delete an execution", None, None),
    ("post", f"{_EXECUTION}/actions", "Cancel an execution", "cancel", ExecutionCancel),
    ("post", f"{_EXECUTION}/actions", "Retry what failed of an execution", "retry", Retry),
    ("get", f"{_EXECUTION}/events", "Follow an execution, as server-sent events", None, None),
    ("get", f"{_TRANSFER}/schedules", "List schedules", None, None),
    ("post", f"{_TRANSFER}/schedules", "Create a schedule", None, ScheduleCreate),
    ("get", _SCHEDULE, "Show a schedule", None, None),
    ("put", _SCHEDULE, "Change a schedule", None, ScheduleUpdate),
    ("delete", _SCHEDULE, "Delete a schedule", None, None),
    ("get", "/deployments", "List deployments", None, None),
    ("get", "/deployments/detail", "List deployments", None, None),
    ("post", "/deployments", "Create a deployment", "deployment", DeploymentCreate),
    ("get", _DEPLOYMENT, "Show a deployment", None, None),
    ("delete", _DEPLOYMENT, "Delete a deployment", None, None),
    ("get", f"{_DEPLOYMENT}/events", "Follow a deployment, as server-sent events", None, None),
    ("post", f"{_DEPLOYMENT}/actions", "Cancel a deployment", "cancel", Cancel),
    ("post", f"{_DEPLOYMENT}/actions", "Retry what failed of a deployment", "retry", Retry),
    ("get", f"{_DEPLOYMENT}/report", "Give the signed reports of a deployment's machines", None, None),
    ("get", "/report-key", "Show the public key that reports are signed with", None, None),
    ("get", "/regions", "List regions", None, None),
    ("post", "/regions", "Create a region", "region", RegionCreate),
    ("get", _REGION, "Show a region", None, None),
    ("put", _REGION, "Change a region", "region", RegionUpdate),
    ("delete", _REGION, "Delete a region", None, None),
    ("get", "/services", "List services", None, None),
    ("post", "/services", "Register a service", "service", ServiceCreate),
    ("get", _SERVICE, "Show a service", None, None),
    ("put", _SERVICE, "Change a service", "service", ServiceUpdate),
    ("delete", _SERVICE, "Forget a service", None, None),
    ("get", "/minion_pools", "List minion pools", None, None),
    ("post", "/minion_pools", "Create a minion pool", "minion_pool", MinionPoolCreate),
    ("get", _POOL, "Show a minion pool", None, None),
    ("put", _POOL, "Change a minion pool", "minion_pool", MinionPoolUpdate),
    ("delete", _POOL, "Delete a minion pool", None, None),
    # Also {"allocate": null} and {"refresh": null}.
    ("post", f"{_POOL}/actions", "Allocate, refresh or deallocate a minion pool", "deallocate", Deallocate),
    ("get", "/waves", "List waves", None, None),
    ("post", "/waves", "Create a wave", "wave", WaveCreate),
    ("get", _WAVE, "Show a wave", None, None),
    ("put", _WAVE, "Change a wave", "wave", WaveUpdate),
    ("delete", _WAVE, "Delete a wave", None, None),
    ("post", f"{_WAVE}/actions", "Start a wave", "start", None),
    ("post", f"{_WAVE}/actions", "Approve a group", "approve", Approve),
    ("post", f"{_WAVE}/actions", "Cancel a wave", "cancel", None),
    ("post", f"{_WAVE}/actions", "Retry what failed of a wave", "retry", None),
    ("get", "/audit", "List who did what", None, None),
    ("get", "/diagnostics", "Show what each process tells of itself", None, None),
)


class OpenApi:
    """GET /v1/openapi.json."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the document."""
        del req
        resp.media = document()


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    models = {model for *_, model in _OPERATIONS if model is not None}
    _, schemas = models_json_schema(
        [(model, "validation") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    for method, path, summary, key, model in _OPERATIONS:
        whole = _operation(method, path, summary, key, model)
        known = paths.setdefault(f"/v1/{{project_id}}{path}", {})
        known[method] = _either(known[method], whole) if method in known else whole
    return {
        "openapi": "3.1.0",
        "info": {"title": "Isthmus migration API", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": {**schemas["$defs"], "Fault": _FAULT},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        },
        "security": [{"token": []}],
    }


_FAULT = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["fault", "code", "message"],
            "properties": {
                "fault": {"type": "string"},
                "code": {"type": "integer"},
                "message": {"type": "string"},
            },
        }
    },
}


def _operation(method: str, path: str, summary: str, key: str | None, model: type[BaseModel] | None) -> dict[str, Any]:
    names = ["project_id", *(part[1:-1] for part in path.split("/") if part.startswith("{"))]
    empty = method == "delete" or (key == "cancel" and model is not None)
    whole: dict[str, Any] = {
        "summary": summary,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": {
            "204" if empty else "200": {"description": "Done"},
            "default": {
                "description": "Refused",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Fault"}}},
            },
        },
    }
    if key is None and model is not None:
        whole["requestBody"] = _content({"$ref": f"#/components/schemas/{model.__name__}"})
    if key is not None:
        inner = {"type": "null"} if model is None else {"$ref": f"#/components/schemas/{model.__name__}"}
        whole["requestBody"] = _content({"type": "object", "required": [key], "properties": {key: inner}})
    return whole


def _either(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return one operation for two actions at one address: the body's key says which."""
    schemas = [each["requestBody"]["content"]["application/json"]["schema"] for each in (first, second)]
    bodies = [*schemas[0].get("oneOf", [schemas[0]]), schemas[1]]
    return {
        **first,
        "summary": f"{first['summary']}; {second['summary'][0].lower()}{second['summary'][1:]}",
        "responses": {**first["responses"], **second["responses"]},
        "requestBody": _content({"oneOf": bodies}),
    }


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}
