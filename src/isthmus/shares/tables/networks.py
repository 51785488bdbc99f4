"""Share networks, their subnets and security services. Passwords are in Barbican."""

from sqlalchemy import ForeignKey, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from isthmus.control.database import Base
from isthmus.shares.tables.columns import Id, Keystone, Name, Stamped, Word


class NetworkRow(Stamped, Base):
    """A tenant's networks that share servers may be put on."""

    __tablename__ = "share_networks"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Keystone, index=True)
    user_id: Mapped[str] = mapped_column(Keystone)
    name: Mapped[str | None] = mapped_column(Name)
    description: Mapped[str | None] = mapped_column(Name)
    status: Mapped[str] = mapped_column(Word, default="active")


class SubnetRow(Stamped, Base):
    """One Neutron subnet of a share network, for one availability zone or (None) for all."""

    __tablename__ = "share_network_subnets"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    share_network_id: Mapped[str] = mapped_column(ForeignKey("share_networks.id"), index=True)
    availability_zone: Mapped[str | None] = mapped_column(Name)
    neutron_net_id: Mapped[str | None] = mapped_column(Id)
    neutron_subnet_id: Mapped[str | None] = mapped_column(Id)
    network_type: Mapped[str | None] = mapped_column(String(32))
    segmentation_id: Mapped[int | None] = mapped_column(Integer)
    cidr: Mapped[str | None] = mapped_column(Word)
    gateway: Mapped[str | None] = mapped_column(Word)
    mtu: Mapped[int | None] = mapped_column(Integer)
    ip_version: Mapped[int | None] = mapped_column(Integer)


class SecurityServiceRow(Stamped, Base):
    """A directory (LDAP, Kerberos, Active Directory) that knows a tenant's users. `password_ref` is Barbican's."""

    __tablename__ = "share_security_services"

    id: Mapped[str] = mapped_column(Id, primary_key=True)
    project_id: Mapped[str] = mapped_column(Keystone, index=True)
    type: Mapped[str] = mapped_column(String(32))
    name: Mapped[str | None] = mapped_column(Name)
    description: Mapped[str | None] = mapped_column(Name)
    dns_ip: Mapped[str | None] = mapped_column(Word)
    server: Mapped[str | None] = mapped_column(Name)
    domain: Mapped[str | None] = mapped_column(Name)
    user: Mapped[str | None] = mapped_column(Name)
    password_ref: Mapped[str | None] = mapped_column(String(512))
    ou: Mapped[str | None] = mapped_column(Name)
    default_ad_site: Mapped[str | None] = mapped_column(Name)
    status: Mapped[str] = mapped_column(Word, default="new")


class NetworkSecurityServiceRow(Base):
    """A security service that a share network uses."""

    __tablename__ = "share_network_security_services"

    share_network_id: Mapped[str] = mapped_column(ForeignKey("share_networks.id"), primary_key=True)
    security_service_id: Mapped[str] = mapped_column(ForeignKey("share_security_services.id"), primary_key=True)
