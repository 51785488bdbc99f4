"""The migration service's tables. `isthmus.control.migrations` (Alembic) makes them in a real database.

Times are UTC without a zone, as Coriolis' API shows them. A deleted row keeps its data and gets `deleted_at`.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects.mysql import DATETIME as MYSQL_DATETIME
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.types import DateTime

from isthmus.control.database import Base

Moment = DateTime().with_variant(MYSQL_DATETIME(fsp=6), "mysql", "mariadb")
LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
Id = String(36)


class Stamped:
    """Creation, change and deletion times of a row."""

    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)
    deleted_at: Mapped[datetime | None] = mapped_column(Moment)


class EndpointRow(Stamped, Base):
    """One cloud as one project sees it. `connection_info` is always `{"secret_ref": …}`."""

    __tablename__ = "endpoints"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    type: Mapped[str] = mapped_column(String(64))
    description: Mapped[str | None] = mapped_column(Text)
    connection_info: Mapped[dict[str, Any]] = mapped_column(JSON)
    owns_secret: Mapped[bool] = mapped_column(Boolean, default=False)
    mapped_regions: Mapped[list[str]] = mapped_column(JSON, default=list)


class TransferRow(Stamped, Base):
    """What shall be moved from where to where. `info` holds, by instance, what has been observed and made:

    `{"machine": …, "disks": [DestinationDisk…], "point": str|None, "stopped_by": execution id|None,
    "tainted": bool, "partial": bool, "deployed": bool}`.
    """

    __tablename__ = "transfers"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    trust_id: Mapped[str | None] = mapped_column(String(64))
    scenario: Mapped[str] = mapped_column(String(32))
    origin_endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    destination_endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    instances: Mapped[list[str]] = mapped_column(JSON)
    source_environment: Mapped[dict[str, Any]] = mapped_column(JSON)
    destination_environment: Mapped[dict[str, Any]] = mapped_column(JSON)
    network_map: Mapped[dict[str, Any]] = mapped_column(JSON)
    storage_mappings: Mapped[dict[str, Any]] = mapped_column(JSON)
    notes: Mapped[str | None] = mapped_column(Text)
    user_scripts: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    origin_minion_pool_id: Mapped[str | None] = mapped_column(Id)
    destination_minion_pool_id: Mapped[str | None] = mapped_column(Id)
    instance_osmorphing_minion_pool_mappings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    clone_disks: Mapped[bool] = mapped_column(Boolean, default=True)
    skip_os_morphing: Mapped[bool] = mapped_column(Boolean, default=False)
    # The transfer whose machines this one brings home.
    failback_of: Mapped[str | None] = mapped_column(Id)
    last_execution_status: Mapped[str] = mapped_column(String(40), default="UNEXECUTED")
    info: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    version: Mapped[int] = mapped_column(Integer, default=0)


class DeploymentRow(Stamped, Base):
    """One machine set made from a transfer's replicas. It keeps its own copy of what it was asked for."""

    __tablename__ = "deployments"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    trust_id: Mapped[str | None] = mapped_column(String(64))
    transfer_id: Mapped[str] = mapped_column(ForeignKey("transfers.id"), index=True)
    deployer_id: Mapped[str | None] = mapped_column(Id)
    retry_of: Mapped[str | None] = mapped_column(Id)
    instances: Mapped[list[str]] = mapped_column(JSON)
    clone_disks: Mapped[bool] = mapped_column(Boolean)
    force: Mapped[bool] = mapped_column(Boolean, default=False)
    # `{"network", "minutes"}` of a deployment that only tests.
    test: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    luks_secret_ref: Mapped[str | None] = mapped_column(String(1024))
    skip_os_morphing: Mapped[bool] = mapped_column(Boolean)
    instance_osmorphing_minion_pool_mappings: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    user_scripts: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    last_execution_status: Mapped[str] = mapped_column(String(40), default="UNEXECUTED")
    transfer_result: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    info: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)


class ExecutionRow(Stamped, Base):
    """One run of a transfer, a deployment or a deletion of disks: `action_id` is the transfer's or deployment's id."""

    __tablename__ = "executions"
    __table_args__ = (
        Index("executions_by_action", "action_id", "number", unique=True),
        Index("executions_by_change", "project_id", "updated_at"),
    )

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    action_id: Mapped[str] = mapped_column(Id)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    type: Mapped[str] = mapped_column(String(40))
    status: Mapped[str] = mapped_column(String(40), index=True)
    number: Mapped[int] = mapped_column(Integer)
    shutdown_instances: Mapped[bool] = mapped_column(Boolean, default=False)
    auto_deploy: Mapped[bool] = mapped_column(Boolean, default=False)
    # Those of the transfer's instances that it is for; null: all.
    instances: Mapped[list[str] | None] = mapped_column(JSON)
    keep_partial: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    # A step that failed waits to be retried or cancelled, before anything is undone.
    hold_on_error: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    # The execution whose failed instances this one takes up.
    retry_of: Mapped[str | None] = mapped_column(Id)
    # What a transfer_update shall change: the transfer's columns that take new values when it has COMPLETED.
    requested: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    tasks: Mapped[list["TaskRow"]] = relationship(
        order_by="TaskRow.index", cascade="all, delete-orphan", lazy="selectin"
    )


class TaskRow(Stamped, Base):
    """One step of an execution, for one instance."""

    __tablename__ = "tasks"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    execution_id: Mapped[str] = mapped_column(ForeignKey("executions.id"), index=True)
    instance: Mapped[str] = mapped_column(String(1024))
    host: Mapped[str | None] = mapped_column(String(255))
    process_id: Mapped[int | None] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(40))
    task_type: Mapped[str] = mapped_column(String(100))
    exception_details: Mapped[str | None] = mapped_column(LongText)
    depends_on: Mapped[list[str]] = mapped_column(JSON, default=list)
    index: Mapped[int] = mapped_column("task_index", Integer)
    on_error: Mapped[bool] = mapped_column(Boolean, default=False)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)

    events: Mapped[list["TaskEventRow"]] = relationship(
        order_by="TaskEventRow.index", cascade="all, delete-orphan", lazy="selectin"
    )
    progress_updates: Mapped[list["TaskProgressRow"]] = relationship(
        order_by="TaskProgressRow.index", cascade="all, delete-orphan", lazy="selectin"
    )


class TaskEventRow(Base):
    """One line about a step."""

    __tablename__ = "task_events"
    __table_args__ = (Index("task_events_by_task", "task_id", "event_index", unique=True),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))
    level: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(LongText)
    index: Mapped[int] = mapped_column("event_index", Integer)
    created_at: Mapped[datetime] = mapped_column(Moment)


class TaskProgressRow(Base):
    """How far one measurable thing of a step has come; `message` names it ("disk vda: 12 MiB/s, 40 s left")."""

    __tablename__ = "task_progress_updates"
    __table_args__ = (Index("task_progress_by_task", "task_id", "progress_index", unique=True),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))
    index: Mapped[int] = mapped_column("progress_index", Integer)
    current_step: Mapped[int] = mapped_column(BigInteger)
    total_steps: Mapped[int | None] = mapped_column(BigInteger)
    message: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)


class ScheduleRow(Stamped, Base):
    """When a transfer is executed by itself. `next_due_at` is null when it never will be (disabled, expired)."""

    __tablename__ = "transfer_schedules"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    transfer_id: Mapped[str] = mapped_column(ForeignKey("transfers.id"), index=True)
    trust_id: Mapped[str | None] = mapped_column(String(64))
    schedule: Mapped[dict[str, Any]] = mapped_column(JSON)
    expiration_date: Mapped[datetime | None] = mapped_column(Moment)
    enabled: Mapped[bool] = mapped_column(Boolean)
    shutdown_instance: Mapped[bool] = mapped_column(Boolean)
    auto_deploy: Mapped[bool] = mapped_column(Boolean)
    next_due_at: Mapped[datetime | None] = mapped_column(Moment, index=True)


class ScheduleFiringRow(Base):
    """One due time of a schedule and what became of it; the pair is unique, so a due time fires once."""

    __tablename__ = "transfer_schedule_firings"
    __table_args__ = (UniqueConstraint("schedule_id", "due_at"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    schedule_id: Mapped[str] = mapped_column(ForeignKey("transfer_schedules.id"))
    due_at: Mapped[datetime] = mapped_column(Moment)
    outcome: Mapped[str] = mapped_column(String(10))
    execution_id: Mapped[str | None] = mapped_column(Id)
    message: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)


class RegionRow(Stamped, Base):
    """A place whose workers reach certain clouds. Its name is the name of their queue."""

    __tablename__ = "regions"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    description: Mapped[str | None] = mapped_column(Text)
    enabled: Mapped[bool] = mapped_column(Boolean)


class ServiceRow(Stamped, Base):
    """A process of Isthmus on some host, as it described itself last."""

    __tablename__ = "services"
    __table_args__ = (UniqueConstraint("host", "binary", "topic"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    binary: Mapped[str] = mapped_column(String(64))
    topic: Mapped[str] = mapped_column(String(255))
    enabled: Mapped[bool] = mapped_column(Boolean)
    mapped_regions: Mapped[list[str]] = mapped_column(JSON, default=list)
    providers: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    specs: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    reported_at: Mapped[datetime] = mapped_column(Moment)


class MinionPoolRow(Stamped, Base):
    """How many machines of an endpoint may be worked on at once; see docs/api.md, "Minion pools"."""

    __tablename__ = "minion_pools"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    maintenance_trust_id: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    os_type: Mapped[str] = mapped_column(String(16))
    platform: Mapped[str] = mapped_column(String(16))
    environment_options: Mapped[dict[str, Any]] = mapped_column(JSON)
    minimum_minions: Mapped[int] = mapped_column(Integer)
    maximum_minions: Mapped[int] = mapped_column(Integer)
    minion_max_idle_time: Mapped[int] = mapped_column(Integer)
    minion_retention_strategy: Mapped[str] = mapped_column(String(16))
    notes: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(40), index=True)

    machines: Mapped[list["MinionMachineRow"]] = relationship(
        order_by="MinionMachineRow.number", cascade="all, delete-orphan", lazy="selectin"
    )
    events: Mapped[list["MinionPoolEventRow"]] = relationship(
        order_by="MinionPoolEventRow.index", cascade="all, delete-orphan", lazy="selectin"
    )


class MinionMachineRow(Base):
    """One machine of a pool: free, or at work for one instance of one execution."""

    __tablename__ = "minion_machines"
    __table_args__ = (UniqueConstraint("pool_id", "number"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    pool_id: Mapped[str] = mapped_column(ForeignKey("minion_pools.id"))
    number: Mapped[int] = mapped_column(Integer)
    allocation_status: Mapped[str] = mapped_column(String(20))
    power_status: Mapped[str] = mapped_column(String(20))
    allocated_action: Mapped[str | None] = mapped_column(Id, index=True)
    allocated_instance: Mapped[str | None] = mapped_column(String(1024))
    last_used_at: Mapped[datetime | None] = mapped_column(Moment)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime | None] = mapped_column(Moment)


class MinionPoolEventRow(Base):
    """One line about a pool."""

    __tablename__ = "minion_pool_events"
    __table_args__ = (UniqueConstraint("pool_id", "event_index"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    pool_id: Mapped[str] = mapped_column(ForeignKey("minion_pools.id"))
    level: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(LongText)
    index: Mapped[int] = mapped_column("event_index", Integer)
    created_at: Mapped[datetime] = mapped_column(Moment)


class WaveRow(Stamped, Base):
    """Transfers that are executed group after group; see docs/waves.md. `run` counts the engine's workflows for it."""

    __tablename__ = "waves"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    trust_id: Mapped[str | None] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(40), index=True)
    message: Mapped[str | None] = mapped_column(Text)
    starts_at: Mapped[datetime | None] = mapped_column(Moment)
    max_in_flight: Mapped[int] = mapped_column(Integer)
    auto_deploy: Mapped[bool] = mapped_column(Boolean)
    shutdown_instances: Mapped[bool] = mapped_column(Boolean)
    # Ids of the waves that must be COMPLETED first.
    after: Mapped[list[str]] = mapped_column(JSON, default=list)
    run: Mapped[int] = mapped_column(Integer, default=0)

    groups: Mapped[list["WaveGroupRow"]] = relationship(
        order_by="WaveGroupRow.index", cascade="all, delete-orphan", lazy="selectin"
    )


class WaveGroupRow(Base):
    """The members of a wave that may run side by side. `gate` says when the group may begin."""

    __tablename__ = "wave_groups"
    __table_args__ = (UniqueConstraint("wave_id", "group_index"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    wave_id: Mapped[str] = mapped_column(ForeignKey("waves.id"))
    index: Mapped[int] = mapped_column("group_index", Integer)
    name: Mapped[str] = mapped_column(String(255))
    gate: Mapped[str] = mapped_column(String(16))
    approved: Mapped[bool] = mapped_column(Boolean, default=False)
    status: Mapped[str] = mapped_column(String(40))

    members: Mapped[list["WaveMemberRow"]] = relationship(
        order_by="WaveMemberRow.index", cascade="all, delete-orphan", lazy="selectin"
    )


class WaveMemberRow(Base):
    """A transfer, or some of its instances, in a wave; its last execution and deployment there, and how it stands."""

    __tablename__ = "wave_members"
    __table_args__ = (UniqueConstraint("group_id", "member_index"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    group_id: Mapped[str] = mapped_column(ForeignKey("wave_groups.id"))
    index: Mapped[int] = mapped_column("member_index", Integer)
    transfer_id: Mapped[str] = mapped_column(ForeignKey("transfers.id"), index=True)
    instances: Mapped[list[str] | None] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(40))
    message: Mapped[str | None] = mapped_column(Text)
    execution_id: Mapped[str | None] = mapped_column(Id, index=True)
    deployment_id: Mapped[str | None] = mapped_column(Id)
    started_at: Mapped[datetime | None] = mapped_column(Moment)
    ended_at: Mapped[datetime | None] = mapped_column(Moment)


class AssessmentRow(Stamped, Base):
    """What was asked about some machines of an endpoint, or all of them, and what was found.

    `wishes` are a transfer's mappings and environments; `instances` is null for all. `total` is null until the machines
    are listed. `destination` are the destination's storages as last seen, `result` the summary.
    """

    __tablename__ = "assessments"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(String(64), index=True)
    user_id: Mapped[str] = mapped_column(String(64))
    trust_id: Mapped[str | None] = mapped_column(String(64))
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("endpoints.id"), index=True)
    destination_endpoint_id: Mapped[str | None] = mapped_column(ForeignKey("endpoints.id"), index=True)
    instances: Mapped[list[str] | None] = mapped_column(JSON)
    wishes: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(40), index=True)
    error: Mapped[str | None] = mapped_column(LongText)
    total: Mapped[int | None] = mapped_column(Integer)
    done: Mapped[int] = mapped_column(Integer, default=0)
    destination: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    result: Mapped[dict[str, Any] | None] = mapped_column(JSON)


class AssessedMachineRow(Base):
    """One machine of an assessment, in the order in which they were listed. Bytes and seconds; null until assessed.

    `facts` are those that are shown; `needs` the bytes that its replica takes of each storage.
    """

    __tablename__ = "assessed_machines"
    __table_args__ = (UniqueConstraint("assessment_id", "position"),)

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    assessment_id: Mapped[str] = mapped_column(ForeignKey("assessments.id"))
    position: Mapped[int] = mapped_column(Integer)
    instance: Mapped[str] = mapped_column(String(1024))
    severity: Mapped[str | None] = mapped_column(String(16))
    concerns: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON)
    facts: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    needs: Mapped[dict[str, int] | None] = mapped_column(JSON)
    bytes_to_move: Mapped[int | None] = mapped_column(BigInteger)
    seconds: Mapped[float | None] = mapped_column(Float)
    downtime_seconds: Mapped[float | None] = mapped_column(Float)
    assessed_at: Mapped[datetime | None] = mapped_column(Moment)
