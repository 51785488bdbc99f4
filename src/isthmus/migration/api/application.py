"""The migration API as one WSGI application: its routes and nothing else."""

import json
from typing import Any

import falcon
import orjson
from oslo_config.cfg import ConfigOpts

from isthmus.control.http import Identify, serve_faults
from isthmus.migration.api import (
    assessments,
    audit,
    clouds,
    deployments,
    diagnostics,
    endpoints,
    events,
    executions,
    minion_pools,
    openapi,
    plans,
    providers,
    regions,
    reports,
    schedules,
    services,
    transfers,
    updates,
    versions,
    waves,
)
from isthmus.migration.api.service import Service
from isthmus.migration.model import PoolPlatform

OPEN_PATHS = frozenset({"/", "/v1", "/v1/", "/v1/openapi.json"})
"""What needs no token."""


def create_application(conf: ConfigOpts, service: Service) -> "falcon.App[falcon.Request, falcon.Response]":
    """Return the API. With `[api] auth_strategy = noauth` the URLs without a project are served too."""
    app = falcon.App(middleware=[Identify(conf, OPEN_PATHS)])
    app.resp_options.media_handlers[falcon.MEDIA_JSON] = falcon.media.JSONHandler(dumps=_written)
    app.req_options.strip_url_path_trailing_slash = True
    # Coriolis' clients send a marker or an env with commas as they are.
    app.req_options.auto_parse_qs_csv = False
    serve_faults(app)
    app.add_route("/", versions.Versions())
    app.add_route("/v1", versions.Version())
    app.add_route("/v1/openapi.json", openapi.OpenApi())
    for base in ("/v1/{project_id}", *(["/v1"] if conf.api.auth_strategy == "noauth" else [])):
        _add_routes(app, base, service)
        _add_own_routes(app, base, service)
    return app


def _written(answer: Any) -> bytes:
    try:
        return orjson.dumps(answer, option=orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError:
        # Environments hold what clients like: whole numbers of more than 64 bits, halves of surrogate pairs.
        return json.dumps(answer).encode()


def _add_routes(app: "falcon.App[falcon.Request, falcon.Response]", base: str, service: Service) -> None:
    listed_transfers = transfers.Transfers(service)
    listed_executions = executions.Executions(service)
    listed_deployments = deployments.Deployments(service)
    endpoint, transfer = f"{base}/endpoints/{{endpoint_id}}", f"{base}/transfers/{{transfer_id}}"
    execution, deployment = f"{transfer}/executions/{{execution_id}}", f"{base}/deployments/{{deployment_id}}"
    app.add_route(f"{base}/providers", providers.Providers(service))
    app.add_route(f"{base}/providers/{{platform}}/schemas/{{bit}}", providers.ProviderSchemas(service))
    app.add_route(f"{base}/endpoints", endpoints.Endpoints(service))
    app.add_route(endpoint, endpoints.Endpoint(service))
    app.add_route(f"{endpoint}/actions", endpoints.EndpointActions(service))
    app.add_route(f"{endpoint}/instances", clouds.EndpointInstances(service))
    app.add_route(f"{endpoint}/instances/{{instance}}", clouds.EndpointInstance(service))
    app.add_route(f"{endpoint}/networks", clouds.EndpointNetworks(service))
    app.add_route(f"{endpoint}/storage", clouds.EndpointStorage(service))
    app.add_route(f"{endpoint}/source-options", clouds.EndpointSourceOptions(service))
    app.add_route(f"{endpoint}/destination-options", clouds.EndpointDestinationOptions(service))
    for platform in PoolPlatform:
        app.add_route(f"{endpoint}/{platform}-minion-pool-options", clouds.EndpointMinionPoolOptions(service, platform))
    app.add_route(f"{endpoint}/inventory", clouds.EndpointInventory(service))
    app.add_route(f"{base}/transfers", listed_transfers)
    app.add_route(f"{base}/transfers/detail", listed_transfers, suffix="detail")
    app.add_route(transfer, updates.UpdatableTransfer(service))
    app.add_route(f"{transfer}/actions", transfers.TransferActions(service))
    app.add_route(f"{transfer}/executions", listed_executions)
    app.add_route(f"{transfer}/executions/detail", listed_executions, suffix="detail")
    app.add_route(execution, executions.Execution(service))
    app.add_route(f"{execution}/actions", executions.ExecutionActions(service))
    app.add_route(f"{transfer}/schedules", schedules.Schedules(service))
    app.add_route(f"{transfer}/schedules/{{schedule_id}}", schedules.Schedule(service))
    app.add_route(f"{base}/deployments", listed_deployments)
    app.add_route(f"{base}/deployments/detail", listed_deployments, suffix="detail")
    app.add_route(deployment, deployments.Deployment(service))
    app.add_route(f"{deployment}/actions", deployments.DeploymentActions(service))
    app.add_route(f"{base}/regions", regions.Regions(service))
    app.add_route(f"{base}/regions/{{region_id}}", regions.Region(service))
    app.add_route(f"{base}/services", services.Services(service))
    app.add_route(f"{base}/services/{{service_id}}", services.Service(service))
    app.add_route(f"{base}/minion_pools", minion_pools.MinionPools(service))
    app.add_route(f"{base}/minion_pools/{{pool_id}}", minion_pools.MinionPool(service))
    app.add_route(f"{base}/minion_pools/{{pool_id}}/actions", minion_pools.MinionPoolActions(service))
    app.add_route(f"{base}/diagnostics", diagnostics.Diagnostics(service))


def _add_own_routes(app: "falcon.App[falcon.Request, falcon.Response]", base: str, service: Service) -> None:
    """Add what Coriolis has not."""
    execution = f"{base}/transfers/{{transfer_id}}/executions/{{execution_id}}"
    deployment = f"{base}/deployments/{{deployment_id}}"
    feed = events.EventFeed(service.database)
    app.add_route(f"{base}/events", events.ProjectEvents(service, feed))
    app.add_route(f"{execution}/events", events.ExecutionEvents(service, feed))
    app.add_route(f"{deployment}/events", events.DeploymentEvents(service, feed))
    app.add_route(f"{base}/assessments", assessments.Assessments(service))
    app.add_route(f"{base}/assessments/{{assessment_id}}", assessments.Assessment(service))
    app.add_route(f"{base}/assessments/{{assessment_id}}/machines", assessments.AssessedMachines(service))
    app.add_route(f"{base}/plans", plans.Plans(service))
    app.add_route(f"{deployment}/report", reports.DeploymentReport(service))
    app.add_route(f"{base}/report-key", reports.ReportKey(service))
    app.add_route(f"{base}/waves", waves.Waves(service))
    app.add_route(f"{base}/waves/{{wave_id}}", waves.Wave(service))
    app.add_route(f"{base}/waves/{{wave_id}}/actions", waves.WaveActions(service))
    app.add_route(f"{base}/audit", audit.AuditRecords(service))
