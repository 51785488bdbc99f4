"""Share networks and their subnets."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from isthmus.shares.store import metadata
from isthmus.shares.tables import AvailabilityZoneRow, GroupRow, InstanceRow, NetworkRow, SubnetRow

NETWORKS = NetworkRow.__table__.c
SUBNETS = SubnetRow.__table__.c

Row = Mapping[str, Any]


def find(session: Session, network_id: str, *, hold: bool = False) -> Row | None:
    """Return a network, held until the transaction ends if wanted."""
    statement = select(*NETWORKS).where(NETWORKS.id == network_id)
    if hold:
        statement = statement.with_for_update()
    return cast("Row | None", session.execute(statement).mappings().first())


def subnets_of(session: Session, network_ids: Collection[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the subnets of each network with their metadata, in two queries; oldest first."""
    found: dict[str, list[dict[str, Any]]] = {identity: [] for identity in network_ids}
    if not found:
        return found
    statement = select(*SUBNETS).where(SUBNETS.share_network_id.in_(found)).order_by(SUBNETS.created_at, SUBNETS.id)
    rows = [dict(row) for row in session.execute(statement).mappings()]
    carried = metadata.read_many(session, [row["id"] for row in rows])
    for row in rows:
        found[row["share_network_id"]].append({**row, "metadata": carried[row["id"]]})
    return found


def find_subnet(session: Session, network_id: str, subnet_id: str) -> dict[str, Any] | None:
    """Return a subnet of a network, with its metadata."""
    statement = select(*SUBNETS).where(SUBNETS.id == subnet_id, SUBNETS.share_network_id == network_id)
    row = session.execute(statement).mappings().first()
    return None if row is None else {**row, "metadata": metadata.read(session, subnet_id)}


def subnets_in(session: Session, network_id: str, zone: str | None) -> list[Row]:
    """Return the subnets that a network has for one zone, or (None) for all zones."""
    statement = select(*SUBNETS).where(SUBNETS.share_network_id == network_id)
    here = SUBNETS.availability_zone.is_(None) if zone is None else SUBNETS.availability_zone == zone
    return cast("list[Row]", session.execute(statement.where(here)).mappings().all())


def zone_named(session: Session, name_or_id: str) -> str | None:
    """Return the name of a zone, None if there is no such."""
    table = AvailabilityZoneRow.__table__.c
    return session.scalar(select(table.name).where((table.name == name_or_id) | (table.id == name_or_id)))


def add(session: Session, values: Row) -> None:
    """Make a network."""
    session.execute(insert(NetworkRow).values(**values))


def add_subnet(session: Session, values: Row, carried: Mapping[str, str]) -> None:
    """Make a subnet with metadata."""
    session.execute(insert(SubnetRow).values(**values))
    metadata.write(session, values["id"], carried)


def change(session: Session, network_id: str, values: Row, now: datetime) -> None:
    """Change a network."""
    _change(session, NetworkRow, network_id, values, now)


def change_subnet(session: Session, subnet_id: str, values: Row, now: datetime) -> None:
    """Change a subnet."""
    _change(session, SubnetRow, subnet_id, values, now)


def remove_subnet(session: Session, subnet_id: str) -> None:
    """Delete a subnet and its metadata."""
    metadata.drop(session, subnet_id)
    session.execute(delete(SubnetRow).where(SubnetRow.id == subnet_id).execution_options(synchronize_session=False))


def remove(session: Session, network_id: str) -> None:
    """Delete a network that has no subnets and no security services any more."""
    session.execute(delete(NetworkRow).where(NetworkRow.id == network_id).execution_options(synchronize_session=False))


def count_shares(session: Session, network_id: str) -> int:
    """Return how many share instances lie on a network."""
    statement = select(func.count()).select_from(InstanceRow).where(InstanceRow.share_network_id == network_id)
    return session.scalar(statement) or 0


def count_groups(session: Session, network_id: str) -> int:
    """Return how many share groups lie on a network."""
    statement = select(func.count()).select_from(GroupRow).where(GroupRow.share_network_id == network_id)
    return session.scalar(statement) or 0


def _change(
    session: Session, table: type[NetworkRow] | type[SubnetRow], identity: str, values: Row, now: datetime
) -> None:
    session.execute(
        update(table)
        .where(table.id == identity)
        .values(updated_at=now, **values)
        .execution_options(synchronize_session=False)
    )
