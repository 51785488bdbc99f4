"""Share types, QoS types, and what all types have in common: specs, and projects that may use a private one."""

from sqlalchemy import Boolean, String
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.shares.tables.columns import Id, Keystone, Name, Stamped


class ShareTypeRow(Stamped, Base):
    """A kind of share that administrators offer."""

    __tablename__ = "share_types"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    description: Mapped[str | None] = mapped_column(Name)
    is_public: Mapped[bool] = mapped_column(Boolean, default=True)


class QosTypeRow(Stamped, Base):
    """A quality of service that back ends may give shares."""

    __tablename__ = "share_qos_types"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(Name, unique=True)
    description: Mapped[str | None] = mapped_column(Name)


class TypeSpecRow(Base):
    """One extra spec of a share type, group spec of a group type, or spec of a QoS type."""

    __tablename__ = "share_type_specs"

    type_id: Mapped[str] = mapped_column(Id, primary_key=True)
    key: Mapped[str] = mapped_column(Name, primary_key=True)
    value: Mapped[str] = mapped_column(String(255))


class TypeProjectRow(Base):
    """A project that may use a private share type or group type."""

    __tablename__ = "share_type_projects"

    type_id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Keystone, primary_key=True)
