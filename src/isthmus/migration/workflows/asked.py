"""What a transfer asks for, read from its rows. Knows nothing of the engine, so that the API can plan without it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.orm import Session

from isthmus.control.errors import NotFound
from isthmus.migration.planning.work import EndpointRef, Work
from isthmus.migration.store import regions
from isthmus.migration.tables import DeploymentRow, EndpointRow, TaskRow, TransferRow

Row = TypeVar("Row", TransferRow, DeploymentRow, EndpointRow, TaskRow)


def row_of(session: Session, table: type[Row], row_id: str, what: str) -> Row:
    """Return a row; `NotFound` says that the `what` is gone."""
    row = session.get(table, row_id)
    if row is None:
        raise NotFound(f"the {what} {row_id} is gone from the database: nothing can be done for it")
    return row


Reach = Callable[[Session, Sequence[str]], tuple[str, ...]]


def endpoint_ref(session: Session, endpoint_id: str, reach: Reach = regions.queues) -> EndpointRef:
    """Return an endpoint for workers; `NotFound` if it is gone, `Conflict` if all its regions are disabled."""
    row = row_of(session, EndpointRow, endpoint_id, "endpoint")
    return EndpointRef(row.id, row.type, dict(row.connection_info or {}), reach(session, row.mapped_regions or ()))


def transfer_work(
    session: Session,
    transfer: TransferRow,
    run_id: str,
    kind: str,
    trust_id: str | None,
    *,
    reach: Reach = regions.queues,
) -> Work:
    """Return what a transfer asks for, as an execution's plan starts from it; raises what `endpoint_ref` does."""
    return Work(
        execution_id=run_id,
        execution_type=kind,
        transfer_id=transfer.id,
        origin=endpoint_ref(session, transfer.origin_endpoint_id, reach),
        destination=endpoint_ref(session, transfer.destination_endpoint_id, reach),
        instances=tuple(transfer.instances),
        trust_id=trust_id or transfer.trust_id,
        source_environment=transfer.source_environment or {},
        destination_environment=transfer.destination_environment or {},
        network_map=transfer.network_map or {},
        storage_mappings=transfer.storage_mappings or {},
        user_scripts=transfer.user_scripts or {},
        clone_disks=transfer.clone_disks,
        skip_os_morphing=transfer.skip_os_morphing,
    )
