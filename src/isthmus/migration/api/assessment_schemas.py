"""The bodies of assessments and plans."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from isthmus.migration.api.schemas import (
    Body,
    ExecutionCreate,
    Identifier,
    Instance,
    NetworkMap,
    No,
    Object,
    StorageMappings,
    TransferCreate,
    Yes,
    default_dict,
    unique,
)


class AssessmentCreate(Body):
    """`assessment` of POST assessments. Null or no `instances` are all machines of the endpoint."""

    endpoint_id: Identifier
    destination_endpoint_id: Identifier | None = None
    instances: Annotated[list[Instance], Field(min_length=1, max_length=1000), AfterValidator(unique)] | None = None
    source_environment: Object = Field(default_factory=dict)
    destination_environment: Object = Field(default_factory=dict)
    network_map: NetworkMap = Field(default_factory=dict)
    storage_mappings: Annotated[StorageMappings, BeforeValidator(default_dict)] = StorageMappings()
    clone_disks: Yes = True
    skip_os_morphing: No = False


class PlanCreate(Body):
    """The body of POST plans: a transfer that is not made, and how it would be executed."""

    transfer: TransferCreate
    execution: Annotated[ExecutionCreate, BeforeValidator(default_dict)] = ExecutionCreate()
