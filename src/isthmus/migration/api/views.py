"""Rows and facts in the form in which Coriolis' API shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from isthmus.migration.model import TaskStatus
from isthmus.migration.tables import (
    DeploymentRow,
    EndpointRow,
    ExecutionRow,
    Stamped,
    TaskEventRow,
    TaskProgressRow,
    TaskRow,
    TransferRow,
)


def moment(value: datetime | None) -> str | None:
    """Return a time with microseconds and without a zone; it is UTC."""
    return None if value is None else value.isoformat(timespec="microseconds")


def stamps(row: Stamped, identity: str) -> dict[str, Any]:
    """Return the times of a row's creation, change and deletion."""
    return {
        "created_at": moment(row.created_at),
        "updated_at": moment(row.updated_at),
        "deleted_at": moment(row.deleted_at),
        "deleted": "0" if row.deleted_at is None else identity,
    }


def endpoint(row: EndpointRow) -> dict[str, Any]:
    """Return an endpoint; its connection details are a reference."""
    return {
        **stamps(row, row.id),
        "id": row.id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "name": row.name,
        "type": row.type,
        "description": row.description,
        "connection_info": row.connection_info,
        "mapped_regions": row.mapped_regions,
    }


def transfer(
    row: TransferRow, executions: Sequence[ExecutionRow] = (), *, with_info: bool = False, with_tasks: bool = True
) -> dict[str, Any]:
    """Return a transfer."""
    whole = {
        **stamps(row, row.id),
        **_asked_for(row),
        "id": row.id,
        "base_id": row.id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "type": "transfer",
        "scenario": row.scenario,
        "instances": row.instances,
        "user_scripts": row.user_scripts or {"global": {}, "instances": {}},
        "instance_osmorphing_minion_pool_mappings": row.instance_osmorphing_minion_pool_mappings or {},
        "clone_disks": row.clone_disks,
        "skip_os_morphing": row.skip_os_morphing,
        "failback_of": row.failback_of,
        "clustered": False,
        "reservation_id": None,
        "transfer_result": None,
        "last_execution_status": row.last_execution_status,
        "executions": [execution(each, with_tasks=with_tasks) for each in executions],
    }
    return {**whole, "info": row.info} if with_info else whole


def _asked_for(row: TransferRow) -> dict[str, Any]:
    return {
        "origin_endpoint_id": row.origin_endpoint_id,
        "destination_endpoint_id": row.destination_endpoint_id,
        "source_environment": row.source_environment,
        "destination_environment": {
            **row.destination_environment,
            "network_map": row.network_map,
            "storage_mappings": row.storage_mappings,
        },
        "network_map": row.network_map,
        "storage_mappings": row.storage_mappings,
        "notes": row.notes,
        "origin_minion_pool_id": row.origin_minion_pool_id,
        "destination_minion_pool_id": row.destination_minion_pool_id,
    }


def deployment(
    row: DeploymentRow,
    parent: TransferRow,
    executions: Sequence[ExecutionRow] | None,
    *,
    with_info: bool = False,
) -> dict[str, Any]:
    """Return a deployment, with the tasks of its only execution unless `executions` is None."""
    whole = {
        **stamps(row, row.id),
        **_asked_for(parent),
        "id": row.id,
        "base_id": row.id,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "type": "deployment",
        "transfer_id": row.transfer_id,
        "transfer_scenario_type": parent.scenario,
        "deployer_id": row.deployer_id,
        "retry_of": row.retry_of,
        "test": row.test,
        "luks_secret_ref": row.luks_secret_ref,
        "trust_id": row.trust_id,
        "instances": row.instances,
        "user_scripts": row.user_scripts or {"global": {}, "instances": {}},
        "instance_osmorphing_minion_pool_mappings": row.instance_osmorphing_minion_pool_mappings or {},
        "clone_disks": row.clone_disks,
        "skip_os_morphing": row.skip_os_morphing,
        "shutdown_instances": False,
        "clustered": False,
        "reservation_id": None,
        "transfer_result": row.transfer_result,
        "last_execution_status": row.last_execution_status,
    }
    if executions is not None:
        whole["tasks"] = [each for run in executions for each in _tasks(run)]
    return {**whole, "info": row.info} if with_info else whole


def execution(row: ExecutionRow, *, with_tasks: bool) -> dict[str, Any]:
    """Return an execution; without tasks the key is missing, and clients then ask for it when they need it."""
    whole = {
        **stamps(row, row.id),
        "id": row.id,
        "action_id": row.action_id,
        "status": row.status,
        "number": row.number,
        "type": row.type,
        "shutdown_instances": row.shutdown_instances,
        "auto_deploy": row.auto_deploy,
        # Isthmus' own; `instances` null is all of the transfer's.
        "instances": row.instances,
        "keep_partial": bool(row.keep_partial),
        "hold_on_error": bool(row.hold_on_error),
        "retry_of": row.retry_of,
    }
    return {**whole, "tasks": _tasks(row)} if with_tasks else whole


def _tasks(row: ExecutionRow) -> list[dict[str, Any]]:
    shown = (task for task in row.tasks if task.status != TaskStatus.EXECUTE_ON_ERROR_ONLY)
    return [_task(task) for task in sorted(shown, key=lambda task: task.index)]


def _task(row: TaskRow) -> dict[str, Any]:
    return {
        **stamps(row, row.id),
        "id": row.id,
        "execution_id": row.execution_id,
        "instance": row.instance,
        "host": row.host,
        "process_id": row.process_id,
        "status": row.status,
        "task_type": row.task_type,
        "exception_details": row.exception_details,
        "depends_on": row.depends_on,
        "index": row.index,
        "on_error": row.on_error,
        # Isthmus' own: what the step found or did, see `store.recording`.
        "result": row.result,
        "events": [_event(each) for each in row.events],
        "progress_updates": [_progress(each) for each in row.progress_updates],
    }


def _event(row: TaskEventRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "task_id": row.task_id,
        "level": row.level,
        "message": row.message,
        "index": row.index,
        "created_at": moment(row.created_at),
        "updated_at": None,
        "deleted_at": None,
        "deleted": "0",
    }


def _progress(row: TaskProgressRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "task_id": row.task_id,
        "index": row.index,
        "current_step": row.current_step,
        "total_steps": row.total_steps,
        "message": row.message,
        "created_at": moment(row.created_at),
        "updated_at": None,
        "deleted_at": None,
        "deleted": "0",
    }


def instance(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source machine (a `Machine` as JSON) as Coriolis' `vm_export_info_schema` has it."""
    return {
        "id": machine["id"],
        "name": machine["name"],
        "num_cpu": machine["num_cpu"],
        "num_cores_per_socket": 1,
        "memory_mb": machine["memory_mb"],
        "flavor_name": None,
        "os_type": machine["os_type"],
        "firmware_type": machine["firmware"],
        "secure_boot": machine["secure_boot"],
        "nested_virtualization": False,
        "hostname": None,
        "power_state": machine["power_state"],
        "devices": {
            "disks": [_disk(disk) for disk in machine["disks"]],
            "nics": [_nic(nic) for nic in machine["nics"]],
            "cdroms": [],
            "controllers": [],
            "serial_ports": [],
            "floppies": [],
        },
    }


def _disk(disk: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": disk["id"],
        "size_bytes": disk["size_bytes"],
        "format": disk["format"],
        "storage_backend_identifier": disk["storage_backend_identifier"],
        "shareable": disk["shareable"],
        "guest_device": f"/dev/{disk['id']}",
        "path": "",
        "bus": disk["bus"],
        "allocated_bytes": disk["allocated_bytes"],
        "can_track_changes": disk["can_track_changes"],
    }


def _nic(nic: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": nic["id"],
        "name": nic["id"],
        "mac_address": nic["mac_address"],
        "ip_addresses": list(nic["ip_addresses"]),
        "network_id": nic["network_name"],
        "network_name": nic["network_name"],
    }


def storage(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cloud's storage back ends; the default one only where there is one."""
    backends = [
        {
            "id": backend["id"],
            "name": backend["name"],
            "additional_provider_properties": {"free_bytes": backend["free_bytes"]},
        }
        for backend in answer["storage_backends"]
    ]
    default = answer.get("config_default")
    return {"storage_backends": backends, **({"config_default": default} if default else {})}
