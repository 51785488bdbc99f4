"""The bodies that the API accepts: Coriolis' v1, parsed once, here.

Unknown keys are ignored, as Coriolis ignores them; wrong types are not. Clients send null for what they leave to
the server, so null means the default wherever there is one.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from isthmus.migration.api.scripts import UserScripts, normalise_scripts
from isthmus.migration.model import Scenario


def _instance(name: str) -> str:
    # Workers make file and object names from it.
    if not name.isprintable():
        raise ValueError("must hold printable characters only")
    if {"..", "."} & set(name.replace("\\", "/").split("/")):
        raise ValueError("must not have . or .. as a part of a path")
    return name


def _unique(instances: list[str]) -> list[str]:
    twice = sorted({name for name in instances if instances.count(name) > 1})
    if twice:
        raise ValueError(f"holds some instances twice: {', '.join(twice)}")
    return instances


def _default_dict(value: object) -> object:
    return {} if value is None else value


def _default_list(value: object) -> object:
    return [] if value is None else value


def _default_true(value: object) -> object:
    return True if value is None else value


def _default_false(value: object) -> object:
    return False if value is None else value


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255)]
Region = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Instance = Annotated[str, StringConstraints(min_length=1, max_length=1024), AfterValidator(_instance)]
Text = Annotated[str, StringConstraints(max_length=16384)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=36)]
Object = Annotated[dict[str, Any], BeforeValidator(_default_dict)]
Regions = Annotated[list[Region], BeforeValidator(_default_list)]
Yes = Annotated[bool, BeforeValidator(_default_true)]
No = Annotated[bool, BeforeValidator(_default_false)]
Scripts = Annotated[UserScripts, BeforeValidator(normalise_scripts)]
NoPool = Annotated[None, Field(description="Minion pools are not supported yet; leave this out or null.")]


class Body(BaseModel):
    """Parent of all bodies."""

    model_config = ConfigDict(strict=True, extra="ignore")


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
    instances: Annotated[list[Instance], Field(min_length=1, max_length=1000), AfterValidator(_unique)]
    source_environment: Object = {}
    destination_environment: Object = {}
    network_map: Annotated[dict[str, str], BeforeValidator(_default_dict)] = {}
    storage_mappings: Annotated[StorageMappings, BeforeValidator(_default_dict)] = StorageMappings()
    notes: Text | None = None
    user_scripts: Scripts = UserScripts()
    origin_minion_pool_id: NoPool = None
    destination_minion_pool_id: NoPool = None
    instance_osmorphing_minion_pool_mappings: Annotated[
        dict[str, Any], Field(max_length=0), BeforeValidator(_default_dict)
    ] = {}
    clone_disks: Yes = True
    skip_os_morphing: No = False


class ExecutionCreate(Body):
    """`execution` of POST executions."""

    shutdown_instances: No = False
    auto_deploy: No = False


class DeploymentCreate(Body):
    """`deployment` of POST deployments."""

    transfer_id: Identifier
    clone_disks: Yes = True
    force: No = False
    skip_os_morphing: No = False
    instance_osmorphing_minion_pool_mappings: Annotated[
        dict[str, Any], Field(max_length=0), BeforeValidator(_default_dict)
    ] = {}
    user_scripts: Scripts = UserScripts()


class Cancel(Body):
    """`cancel` of the actions; null is without force."""

    force: No = False
