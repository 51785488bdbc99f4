"""Regions and the services in them. Both belong to the whole installation, not to a project.

An endpoint's `mapped_regions` name regions by id, as Coriolis' clients do, or directly the queue of the workers that
reach it (`[worker] queues`), which needs no region. A region's queue has its name.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from isthmus.control.errors import Conflict, NotFound
from isthmus.migration.model import ServiceStatus
from isthmus.migration.store.paging import Page, fetch_page
from isthmus.migration.tables import EndpointRow, RegionRow, ServiceRow

SILENT_AFTER = timedelta(minutes=3)
"""A service that has not reported for so long is DOWN."""


def get(session: Session, region_id: str) -> RegionRow:
    """Return a region; `NotFound` if there is none."""
    row = session.get(RegionRow, region_id)
    if row is None:
        raise NotFound(f"there is no region {region_id}; GET regions lists those that exist")
    return row


def fetch(session: Session, page: Page) -> Sequence[RegionRow]:
    """Return a page of all regions."""
    return fetch_page(session, RegionRow, select(RegionRow), page)


def save(session: Session, row: RegionRow) -> None:
    """Keep a new or changed region; `Conflict` if another one has its name."""
    session.add(row)
    name = row.name
    try:
        session.flush()
    except IntegrityError:
        raise Conflict(f"there is a region named {name!r} already; choose another name") from None


def remove(session: Session, row: RegionRow) -> None:
    """Delete a region that nothing is mapped to; `Conflict` says how many endpoints or services are."""
    if any(row.id in each.mapped_regions for each in session.scalars(_live_endpoints())) or services_in(session, row):
        # Other projects' endpoints count, but are not named.
        raise Conflict(
            f"region {row.id} ({row.name}) is mapped to endpoints or services; take it out of their mapped_regions"
        )
    session.delete(row)
    session.flush()


def endpoints_in(session: Session, project_id: str, row: RegionRow) -> list[str]:
    """Return the ids of the project's endpoints that are mapped to the region."""
    found = session.scalars(_live_endpoints().where(EndpointRow.project_id == project_id))
    return sorted(each.id for each in found if {row.id, row.name} & set(each.mapped_regions))


def services_in(session: Session, row: RegionRow) -> list[str]:
    """Return the ids of the services that are mapped to the region."""
    return sorted(
        each.id for each in session.scalars(select(ServiceRow)) if {row.id, row.name} & set(each.mapped_regions)
    )


def check(session: Session, mapped_regions: Sequence[str]) -> None:
    """Return if every id among them is a region's; `NotFound` names one that is not. Queues have any names."""
    for each in mapped_regions:
        if _is_id(each) and session.get(RegionRow, each) is None:
            raise NotFound(f"there is no region {each}; GET regions lists those that exist")


def queues(session: Session, mapped_regions: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the workers' queues that these stand for; `Conflict` if all their regions are disabled."""
    known = _known(session, mapped_regions)
    enabled = [each for each in mapped_regions if each not in known or known[each].enabled]
    if mapped_regions and not enabled:
        raise Conflict(
            f"all regions of this endpoint are disabled ({', '.join(mapped_regions)}); enable one, or map another"
        )
    return tuple(known[each].name if each in known else each for each in enabled)


def all_queues(session: Session, mapped_regions: Sequence[str]) -> tuple[str, ...]:
    """Return the same, disabled regions too: what was begun there must still be tidied away."""
    known = _known(session, mapped_regions)
    return tuple(known[each].name if each in known else each for each in mapped_regions)


def _known(session: Session, mapped_regions: Sequence[str]) -> dict[str, RegionRow]:
    if not mapped_regions:
        return {}
    wanted = select(RegionRow).where(or_(RegionRow.id.in_(mapped_regions), RegionRow.name.in_(mapped_regions)))
    return {key: row for row in session.scalars(wanted) for key in (row.id, row.name)}


def _live_endpoints() -> Select[EndpointRow]:
    return select(EndpointRow).where(EndpointRow.deleted_at.is_(None))


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def service(session: Session, service_id: str) -> ServiceRow:
    """Return a service; `NotFound` if there is none."""
    row = session.get(ServiceRow, service_id)
    if row is None:
        raise NotFound(f"there is no service {service_id}; GET services lists those that exist")
    return row


def services(session: Session, page: Page) -> Sequence[ServiceRow]:
    """Return a page of all services."""
    return fetch_page(session, ServiceRow, select(ServiceRow), page)


def find_service(session: Session, host: str, binary: str, topic: str) -> ServiceRow | None:
    """Return the service of these; None if it is not registered."""
    return session.scalar(
        select(ServiceRow).where(ServiceRow.host == host, ServiceRow.binary == binary, ServiceRow.topic == topic)
    )


def add_service(session: Session, row: ServiceRow) -> None:
    """Register a service; `Conflict` if it is registered already."""
    what = f"{row.binary} on {row.host} with topic {row.topic}"
    session.add(row)
    try:
        session.flush()
    except IntegrityError:
        raise Conflict(f"{what} is registered already; change that service instead (PUT services/ID)") from None


def status_of(row: ServiceRow, now: datetime) -> ServiceStatus:
    """Return whether the service has been heard of lately."""
    return ServiceStatus.UP if now - row.reported_at <= SILENT_AFTER else ServiceStatus.DOWN
