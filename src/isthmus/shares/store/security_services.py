"""Security services and the share networks that use them. Passwords are Barbican's; rows hold their references."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.control.errors import NotAllowed
from isthmus.shares.tables import NetworkSecurityServiceRow, SecurityServiceRow

TABLE = SecurityServiceRow.__table__.c
_USES = NetworkSecurityServiceRow.__table__.c


def listed(*, project_id: str | None, share_network_id: str | None = None) -> Select[Any]:
    """Return the statement for a project's security services (None: all), or those of one share network."""
    statement = select(*TABLE).order_by(TABLE.created_at, TABLE.id)
    if share_network_id is not None:
        statement = statement.join(
            NetworkSecurityServiceRow, NetworkSecurityServiceRow.security_service_id == TABLE.id
        ).where(NetworkSecurityServiceRow.share_network_id == share_network_id)
    return statement if project_id is None else statement.where(TABLE.project_id == project_id)


def find(session: Session, service_id: str, project_id: str | None = None) -> Mapping[str, Any] | None:
    """Return one, of a project if one is named."""
    statement = select(*TABLE).where(TABLE.id == service_id)
    if project_id is not None:
        statement = statement.where(TABLE.project_id == project_id)
    return cast("Mapping[str, Any] | None", session.execute(statement).mappings().first())


def add(session: Session, values: Mapping[str, Any]) -> None:
    """Make one."""
    session.execute(insert(SecurityServiceRow).values(**values))


def change(session: Session, service_id: str, values: Mapping[str, Any], now: datetime) -> None:
    """Change one."""
    session.execute(
        update(SecurityServiceRow)
        .where(SecurityServiceRow.id == service_id)
        .values(updated_at=now, **values)
        .execution_options(synchronize_session=False)
    )


def remove(session: Session, service_id: str) -> None:
    """Delete one; `NotAllowed` while a share network uses it."""
    refusal = "Cannot delete security service. It is assigned to share network(s)"
    if networks_of(session, [service_id])[service_id]:
        raise NotAllowed(refusal)
    try:
        session.execute(
            delete(SecurityServiceRow)
            .where(SecurityServiceRow.id == service_id)
            .execution_options(synchronize_session=False)
        )
    except IntegrityError:
        raise NotAllowed(refusal) from None


def networks_of(session: Session, service_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the share networks that use each of these, in one query."""
    found: dict[str, list[str]] = {identity: [] for identity in service_ids}
    if found:
        for row in session.execute(select(*_USES).where(_USES.security_service_id.in_(found))):
            found[row.security_service_id].append(row.share_network_id)
    return found


def used_by(session: Session, share_network_id: str) -> list[Mapping[str, Any]]:
    """Return the security services of a share network."""
    statement = listed(project_id=None, share_network_id=share_network_id)
    return cast("list[Mapping[str, Any]]", session.execute(statement).mappings().all())


def use(session: Session, share_network_id: str, service_id: str) -> None:
    """Have a share network use one."""
    session.execute(
        insert(NetworkSecurityServiceRow).values(share_network_id=share_network_id, security_service_id=service_id)
    )


def leave(session: Session, share_network_id: str, service_id: str | None = None) -> bool:
    """Have a share network use one (or all) no longer; say whether it did."""
    statement = delete(NetworkSecurityServiceRow).where(_USES.share_network_id == share_network_id)
    if service_id is not None:
        statement = statement.where(_USES.security_service_id == service_id)
    gone = session.execute(statement.execution_options(synchronize_session=False))
    return bool(gone.rowcount)  # type: ignore[attr-defined] # a delete's result is a CursorResult
