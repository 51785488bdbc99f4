"""The API's answers as typed values. What is not named here is ignored: a newer server may say more."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Answer(BaseModel):
    """Base of all answers. Times are UTC without a zone."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Endpoint(Answer):
    """One registered cloud."""

    id: str
    name: str
    type: str
    description: str | None = None
    connection_info: dict[str, Any] = Field(default_factory=dict)
    mapped_regions: list[str] = Field(default_factory=list)
    created_at: datetime | None = None


class Event(Answer):
    """One line about a step."""

    id: str
    level: str
    message: str
    index: int = 0
    created_at: datetime | None = None


class ProgressUpdate(Answer):
    """How far one measurable thing of a step has come: `message` begins with its name ("disk vda")."""

    id: str
    index: int = 0
    current_step: int
    total_steps: int | None = None
    message: str
    created_at: datetime | None = None


class Task(Answer):
    """One step of an execution, for one instance."""

    id: str
    instance: str
    task_type: str
    status: str
    index: int = 0
    exception_details: str | None = None
    result: dict[str, Any] | None = None
    events: list[Event] = Field(default_factory=list)
    progress_updates: list[ProgressUpdate] = Field(default_factory=list)
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Execution(Answer):
    """One run of a transfer or a deletion of its disks."""

    id: str
    action_id: str = ""
    number: int = 0
    type: str = ""
    status: str
    shutdown_instances: bool = False
    instances: list[str] | None = None
    retry_of: str | None = None
    tasks: list[Task] = Field(default_factory=list)
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @field_validator("tasks", mode="before")
    @classmethod
    def _no_tasks(cls, value: Any) -> Any:
        return value or []


class Transfer(Answer):
    """What shall be moved from where to where."""

    id: str
    scenario: str = ""
    origin_endpoint_id: str
    destination_endpoint_id: str
    instances: list[str]
    last_execution_status: str
    source_environment: dict[str, Any] | None = None
    destination_environment: dict[str, Any] | None = None
    network_map: dict[str, Any] | None = None
    storage_mappings: dict[str, Any] | None = None
    clone_disks: bool | None = None
    skip_os_morphing: bool | None = None
    notes: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


class Deployment(Answer):
    """One machine set made from a transfer's replicas, with the steps that made it."""

    id: str
    transfer_id: str = ""
    instances: list[str] = Field(default_factory=list)
    last_execution_status: str
    clone_disks: bool | None = None
    skip_os_morphing: bool | None = None
    test: dict[str, Any] | None = None
    transfer_result: dict[str, Any] | None = None
    tasks: list[Task] = Field(default_factory=list)
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @field_validator("tasks", mode="before")
    @classmethod
    def _no_tasks(cls, value: Any) -> Any:
        return value or []
