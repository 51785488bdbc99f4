"""The bodies that the API accepts: Coriolis' v1, parsed once, here.

Unknown keys are ignored, as Coriolis ignores them; wrong types are not. Clients send null for what they leave to
the server, so null means the default wherever there is one.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from isthmus.migration.api.scripts import UserScripts, normalise_scripts
from isthmus.migration.model import Scenario
from isthmus.migration.store.limits import too_many


def _instance(name: str) -> str:
    # Workers make file and object names from it.
    if not name.isprintable():
        raise ValueError("must hold printable characters only")
    if {"..", "."} & set(name.replace("\\", "/").split("/")):
        raise ValueError("must not have . or .. as a part of a path")
    return name


def unique(instances: list[str]) -> list[str]:
    """Return the instances; ValueError names those that are listed twice."""
    twice = sorted({name for name in instances if instances.count(name) > 1})
    if twice:
        raise ValueError(f"holds some instances twice: {', '.join(twice)}")
    return instances


def few(instances: list[str]) -> list[str]:
    """Return the instances; ValueError if they are more than one transfer takes."""
    if (reason := too_many(len(instances))) is not None:
        raise ValueError(reason)
    return instances


def default_dict(value: object) -> object:
    """Return an empty object for null."""
    return {} if value is None else value


def _default_list(value: object) -> object:
    return [] if value is None else value


def _default_true(value: object) -> object:
    return True if value is None else value


def _default_false(value: object) -> object:
    return False if value is None else value


def _network(value: object) -> object:
    """Return the network that an object names, Coriolis' other form for it; a text stays as it is."""
    if not isinstance(value, dict):
        return value
    if value.get("security_groups"):
        raise ValueError(
            "security_groups for one network are not supported: name them in the destination environment, for all"
        )
    strangers = sorted(set(map(str, value)) - {"id", "name", "security_groups"})
    if strangers:
        raise ValueError(f"holds unknown keys: {', '.join(strangers)}; give id or name")
    given = value.get("id") or value.get("name")
    if not given:
        raise ValueError("names no network: give id or name")
    return given


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Region = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Instance = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_instance)]
Text = Annotated[str, StringConstraints(max_length=16384)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=36)]
Object = Annotated[dict[str, Any], BeforeValidator(default_dict)]
Regions = Annotated[list[Region], BeforeValidator(_default_list)]
Yes = Annotated[bool, BeforeValidator(_default_true)]
No = Annotated[bool, BeforeValidator(_default_false)]
Scripts = Annotated[UserScripts, BeforeValidator(normalise_scripts)]
Network = Annotated[
    str,
    BeforeValidator(
        _network,
        json_schema_input_type=str | dict[Literal["id", "name", "security_groups"], Any],
    ),
]
NetworkMap = Annotated[dict[str, Network], BeforeValidator(default_dict)]
PoolId = Annotated[str, StringConstraints(min_length=1, max_length=36)]
PoolMappings = Annotated[dict[str, PoolId], BeforeValidator(default_dict)]


class Body(BaseModel):
    """Parent of all bodies."""

    model_config = ConfigDict(strict=True, extra="ignore")


Chosen = Annotated[list[Instance], Field(min_length=1, max_length=1000), AfterValidator(unique)] | None


class SecretReference(Body):
    """Connection details that are in Barbican already."""

    secret_ref: Annotated[str, StringConstraints(max_length=1024)]


class EndpointCreate(Body):
    """`endpoint` of POST endpoints."""

    name: Name
    type: Name
    connection_info: dict[str, Any]
    description: Text | None = None
    mapped_regions: Regions = []


class EndpointUpdate(Body):
    """`endpoint` of PUT endpoints: what is left out stays."""

    name: Name | None = None
    description: Text | None = None
    connection_info: dict[str, Any] | None = None
    mapped_regions: list[Region] | None = None


class BackendMapping(BaseModel):
    """Where disks of one source back end go."""

    model_config = ConfigDict(strict=True, extra="forbid")

    source: str
    destination: str


class SingleDiskMapping(BaseModel):
    """Where one disk goes."""

    model_config = ConfigDict(strict=True, extra="forbid")

    disk_id: str
    destination: str


class StorageMappings(BaseModel):
    """Where disks go: the disk's own mapping first, then its back end's, then the default."""

    model_config = ConfigDict(strict=True, extra="forbid")

    default: str | None = None
    backend_mappings: Annotated[list[BackendMapping], BeforeValidator(_default_list)] = []
    disk_mappings: Annotated[list[SingleDiskMapping], BeforeValidator(_default_list)] = []


class TransferCreate(Body):
    """`transfer` of POST transfers."""

    scenario: Annotated[
        Literal["replica", "live_migration"], BeforeValidator(lambda value: value or Scenario.REPLICA.value)
    ] = "replica"
    origin_endpoint_id: Identifier
    destination_endpoint_id: Identifier
    instances: Annotated[list[Instance], Field(min_length=1), AfterValidator(few), AfterValidator(unique)]
    source_environment: Object = {}
    destination_environment: Object = {}
    network_map: NetworkMap = {}
    storage_mappings: Annotated[StorageMappings, BeforeValidator(default_dict)] = StorageMappings()
    notes: Text | None = None
    user_scripts: Scripts = UserScripts()
    origin_minion_pool_id: PoolId | None = None
    destination_minion_pool_id: PoolId | None = None
    instance_osmorphing_minion_pool_mappings: PoolMappings = {}
    clone_disks: Yes = True
    skip_os_morphing: No = False


class TransferUpdate(Body):
    """`transfer` of PUT transfers: what is left out or null stays; objects are merged key by key."""

    scenario: str | None = None
    origin_endpoint_id: Identifier | None = None
    destination_endpoint_id: Identifier | None = None
    instances: list[Instance] | None = None
    source_environment: Object = {}
    destination_environment: Object = {}
    network_map: NetworkMap = {}
    storage_mappings: Annotated[StorageMappings, BeforeValidator(default_dict)] = StorageMappings()
    notes: Text | None = None
    user_scripts: Scripts = UserScripts()
    origin_minion_pool_id: PoolId | None = None
    destination_minion_pool_id: PoolId | None = None
    instance_osmorphing_minion_pool_mappings: PoolMappings = {}
    clone_disks: bool | None = None
    skip_os_morphing: bool | None = None


class ExecutionCreate(Body):
    """`execution` of POST executions."""

    shutdown_instances: No = False
    auto_deploy: No = False
    # Isthmus' own: only some of the transfer's instances; keep what a first copy has sent when it fails; a failed step
    # waits to be retried or cancelled.
    instances: Chosen = None
    keep_partial: No = False
    hold_on_error: No = False


class Test(Body):
    """`test` of a deployment: all NICs on this network, and how long the machines stay after their proof of life."""

    network: Name
    minutes: Annotated[int, Field(ge=0, le=1440)] = 0


class DeploymentCreate(Body):
    """`deployment` of POST deployments."""

    transfer_id: Identifier
    clone_disks: Yes = True
    force: No = False
    skip_os_morphing: No = False
    # Left out or null: the transfer's own.
    instance_osmorphing_minion_pool_mappings: dict[str, PoolId] | None = None
    user_scripts: Scripts = UserScripts()
    # Isthmus' own: only some of the transfer's instances; a failed step waits to be retried or cancelled.
    instances: Chosen = None
    hold_on_error: No = False
    # Isthmus' own: show whether the machines live, then remove them; passphrases of the guests' LUKS volumes.
    test: Test | None = None
    luks_secret_ref: Annotated[str, StringConstraints(max_length=1024)] | None = None


class Cancel(Body):
    """`cancel` of the actions; null is without force."""

    force: No = False


class ExecutionCancel(Cancel):
    """`cancel` of an execution. `keep`: what a first copy has sent stays, for a retry to go on with."""

    keep: No = False


class Verify(Body):
    """`verify` of a transfer; null is all instances."""

    instances: Chosen = None


class Failback(Body):
    """`failback` of a transfer; null is all machines of its last completed deployment, networks reversed."""

    deployment_id: Identifier | None = None
    instances: Chosen = None
    source_environment: Object = {}
    destination_environment: Object = {}
    network_map: NetworkMap = {}
    storage_mappings: Annotated[StorageMappings, BeforeValidator(default_dict)] = StorageMappings()
    notes: Text | None = None


class Retry(Body):
    """`retry` of the actions; null is all instances that failed."""

    instances: Chosen = None


class ScheduleCreate(Body):
    """The body of POST transfers/{id}/schedules, without an envelope as in Coriolis."""

    schedule: dict[str, Any]
    enabled: Yes = True
    expiration_date: Text | None = None
    shutdown_instance: No = False
    auto_deploy: No = False


class ScheduleUpdate(Body):
    """The body of PUT …/schedules/{id}: what is left out stays, and null too, but for the expiration date."""

    schedule: dict[str, Any] | None = None
    enabled: bool | None = None
    expiration_date: Text | None = None
    shutdown_instance: bool | None = None
    auto_deploy: bool | None = None


class RegionCreate(Body):
    """`region` of POST regions."""

    name: Name
    description: Text | None = None
    enabled: Yes = True


class RegionUpdate(Body):
    """`region` of PUT regions."""

    name: Name | None = None
    description: Text | None = None
    enabled: bool | None = None


class ServiceCreate(Body):
    """`service` of POST services."""

    host: Name
    binary: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
    topic: Name
    mapped_regions: Regions = []
    enabled: Yes = True


class ServiceUpdate(Body):
    """`service` of PUT services."""

    mapped_regions: list[Region] | None = None
    enabled: bool | None = None


Count = Annotated[int, Field(ge=1, le=1000)]
Seconds = Annotated[int, Field(ge=1, le=2**31 - 1)]
PoolRetention = Literal["delete", "poweroff"]


class MinionPoolCreate(Body):
    """`minion_pool` of POST minion_pools."""

    name: Name
    endpoint_id: Identifier
    os_type: Literal["linux", "windows"]
    platform: Literal["source", "destination"]
    environment_options: Object = {}
    minimum_minions: Annotated[Count, BeforeValidator(lambda value: 1 if value is None else value)] = 1
    maximum_minions: Count | None = None
    minion_max_idle_time: Annotated[Seconds, BeforeValidator(lambda value: 1 if value is None else value)] = 1
    minion_retention_strategy: Annotated[
        PoolRetention, BeforeValidator(lambda value: "delete" if value is None else value)
    ] = "delete"
    notes: Text | None = None
    skip_allocation: No = False


class MinionPoolUpdate(Body):
    """`minion_pool` of PUT minion_pools: what is left out or null stays."""

    name: Name | None = None
    os_type: Literal["linux", "windows"] | None = None
    environment_options: dict[str, Any] | None = None
    minimum_minions: Count | None = None
    maximum_minions: Count | None = None
    minion_max_idle_time: Seconds | None = None
    minion_retention_strategy: PoolRetention | None = None
    notes: Text | None = None


class Deallocate(Body):
    """`deallocate` of the pool's actions; null is without force."""

    force: No = False
