"""A share type as what is made of it needs it: its id, its name, its extra specs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from isthmus.shares.scheduling.extra_specs import spec_truth
from isthmus.shares.tables import ShareTypeRow, TypeProjectRow, TypeSpecRow

_TABLE = ShareTypeRow.__table__


@dataclass(frozen=True)
class ShareType:
    """A share type with all its extra specs."""

    id: str
    name: str
    specs: Mapping[str, str] = field(default_factory=dict)

    def says(self, spec: str, *, default: bool = False) -> bool:
        """Return a boolean spec."""
        return spec_truth(self.specs.get(spec), default)

    @property
    def zones(self) -> tuple[str, ...]:
        """Return the availability zones that shares of this type may lie in; empty is any."""
        return tuple(zone for zone in self.specs.get("availability_zones", "").split(",") if zone)


def of_id(session: Session, type_id: str | None) -> ShareType | None:
    """Return the type of something that exists already, whoever may use it."""
    return None if type_id is None else _read(session, select(_TABLE.c.id, _TABLE.c.name), type_id, by_id=True)


def default(session: Session, name: str | None) -> ShareType | None:
    """Return the type of shares that name none; None if none is configured or the configured one is not there."""
    return None if not name else _read(session, select(_TABLE.c.id, _TABLE.c.name), name, by_id=False)


def usable(session: Session, name_or_id: str, project_id: str | None) -> ShareType | None:
    """Return a type by id or name if the project may use it (project None: an administrator may use all)."""
    wanted = select(_TABLE.c.id, _TABLE.c.name)
    if project_id is not None:
        granted = select(TypeProjectRow.type_id).where(TypeProjectRow.project_id == project_id)
        wanted = wanted.where(or_(_TABLE.c.is_public, _TABLE.c.id.in_(granted)))
    return _read(session, wanted, name_or_id, by_id=True) or _read(session, wanted, name_or_id, by_id=False)


def _read(session: Session, wanted: Select[Any], value: str, *, by_id: bool) -> ShareType | None:
    row = session.execute(wanted.where((_TABLE.c.id if by_id else _TABLE.c.name) == value)).first()
    if row is None:
        return None
    specs = session.execute(select(TypeSpecRow.key, TypeSpecRow.value).where(TypeSpecRow.type_id == row.id)).all()
    return ShareType(row.id, row.name, {row.key: row.value for row in specs})
