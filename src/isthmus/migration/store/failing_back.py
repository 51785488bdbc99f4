"""The way home: a transfer in the opposite direction that begins with what the old source still has."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.migration.model import ExecutionStatus, Scenario
from isthmus.migration.tables import DeploymentRow, TransferRow


def deployed_by(session: Session, transfer: TransferRow, deployment_id: str | None) -> DeploymentRow:
    """Return the transfer's last COMPLETED deployment, or the one named if it is that; `Conflict` if there is none."""
    wanted = select(DeploymentRow).where(
        DeploymentRow.transfer_id == transfer.id,
        DeploymentRow.last_execution_status == ExecutionStatus.COMPLETED,
        DeploymentRow.deleted_at.is_(None),
    )
    if deployment_id is not None:
        wanted = wanted.where(DeploymentRow.id == deployment_id)
    found = session.scalars(wanted.order_by(DeploymentRow.created_at.desc())).all()
    row = next((each for each in found if not each.test), None)
    if row is None:
        which = f"deployment {deployment_id}" if deployment_id else "deployment"
        raise Conflict(f"transfer {transfer.id} has no COMPLETED {which}: there is no machine to bring home")
    return row


def machines_of(deployment: DeploymentRow, wanted: Sequence[str] | None) -> dict[str, str]:
    """Return the names of the machines that a deployment made, by the instance that each was made from.

    Raises `InvalidInput` if `wanted` names an instance that the deployment did not make.
    """
    made = {
        instance: str(result["machine"]["name"])
        for instance, result in (deployment.transfer_result or {}).items()
        if (result or {}).get("machine")
    }
    strangers = sorted(set(wanted or ()) - set(made))
    if strangers:
        raise InvalidInput(
            f"deployment {deployment.id} made no machine of {', '.join(strangers)}; of: {', '.join(made)}"
        )
    return {instance: made[instance] for instance in wanted or made}


def reversed_map(network_map: Mapping[str, str]) -> dict[str, str]:
    """Return the network map of the way home; `InvalidInput` if two networks lead to one."""
    back: dict[str, str] = {}
    for here, there in network_map.items():
        if there in back:
            raise InvalidInput(
                f"networks {back[there]} and {here} both lead to {there}: say with network_map where it leads back to"
            )
        back[there] = here
    return back


def reversed_transfer(
    transfer: TransferRow, machines: Mapping[str, str], wishes: Mapping[str, Any], *, row_id: str, now: datetime
) -> TransferRow:
    """Return the row of the transfer that brings `machines` (see `machines_of`) home.

    `wishes` are columns of the new row: network_map, storage_mappings, environments, notes.
    """
    facts: dict[str, Any] = {
        "source_environment": {},
        "destination_environment": {},
        "network_map": wishes.get("network_map") or reversed_map(transfer.network_map or {}),
        "storage_mappings": {},
        "notes": None,
        **{key: value for key, value in wishes.items() if value},
    }
    return TransferRow(
        id=row_id,
        project_id=transfer.project_id,
        user_id=transfer.user_id,
        trust_id=transfer.trust_id,
        scenario=Scenario.REPLICA,
        origin_endpoint_id=transfer.destination_endpoint_id,
        destination_endpoint_id=transfer.origin_endpoint_id,
        instances=list(machines.values()),
        user_scripts=None,
        clone_disks=transfer.clone_disks,
        skip_os_morphing=transfer.skip_os_morphing,
        last_execution_status=ExecutionStatus.UNEXECUTED,
        failback_of=transfer.id,
        # The first execution begins with a copy of what the old source still has, made beside it.
        info={machine: {"home": instance} for instance, machine in machines.items()},
        version=0,
        created_at=now,
        **facts,
    )
