"""Keystone trusts: what lets the service act for a user after the token of the call has expired.

The API makes one, once for each user and project, from the user to the service's account, with the roles of the
token. Only its id goes into workflows.
"""

from collections.abc import Sequence
from datetime import datetime

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from oslo_config.cfg import ConfigOpts
from sqlalchemy import String, delete, select
from sqlalchemy.dialects.mysql import DATETIME as MYSQL_DATETIME
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import DateTime

from isthmus.control.database import Base, Database, utc_now
from isthmus.control.errors import NotAllowed
from isthmus.control.identity import Caller, caller_session, catalog_url, keystone_silent, service_session


class TrustRow(Base):
    """A Keystone trust from a user to the service, reused for all the user's work in one project."""

    __tablename__ = "trusts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), index=True)
    project_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(DateTime().with_variant(MYSQL_DATETIME(fsp=6), "mysql", "mariadb"))


def ensure_trust(conf: ConfigOpts, database: Database, caller: Caller) -> str | None:
    """Return the id of a trust from the caller to the service with the caller's roles; None where calls have no token.

    Already done: one made before for this user and project still exists with these roles. Those with other roles are
    left alone, since running work may use them: there are as many as a user has had sets of roles.
    Raises `NotAllowed` if Keystone refuses, `Unavailable` if it is silent.
    """
    if caller.token is None:
        return None
    session = caller_session(conf, caller.token, caller.project_id)
    url = catalog_url(session, "identity") + "/v3/OS-TRUST/trusts"
    try:
        for known in _known_trusts(database, caller):
            if _still_good(session, url, database, known, caller):
                return known
        return _make_trust(conf, session, url, database, caller)
    except exceptions.HttpError as error:
        if error.http_status >= 500:
            raise keystone_silent(error) from error
        raise NotAllowed(
            f"Keystone refuses a trust from user {caller.user_id} to Isthmus in project {caller.project_id} "
            f"({error.message}); log in with a password rather than with a restricted application credential"
        ) from error
    except exceptions.ClientException as error:
        raise keystone_silent(error) from error


def _known_trusts(database: Database, caller: Caller) -> Sequence[str]:
    """Return those made for this user and project, the newest first."""
    with database.transaction() as transaction:
        return transaction.scalars(
            select(TrustRow.id)
            .where(TrustRow.user_id == caller.user_id, TrustRow.project_id == caller.project_id)
            .order_by(TrustRow.created_at.desc())
        ).all()


def _still_good(session: Adapter, url: str, database: Database, trust_id: str, caller: Caller) -> bool:
    try:
        trust = session.get(f"{url}/{trust_id}").json()["trust"]
    except exceptions.NotFound:
        with database.transaction() as transaction:
            transaction.execute(delete(TrustRow).where(TrustRow.id == trust_id))
        return False
    return {role["name"] for role in trust["roles"]} == set(caller.roles)


def _make_trust(conf: ConfigOpts, session: Adapter, url: str, database: Database, caller: Caller) -> str:
    body = {
        "trust": {
            "trustor_user_id": caller.user_id,
            "trustee_user_id": service_session(conf).get_user_id(),
            "project_id": caller.project_id,
            "impersonation": True,
            "allow_redelegation": False,
            "roles": [{"name": name} for name in caller.roles],
        }
    }
    made = session.post(url, json=body).json()["trust"]
    trust_id = str(made["id"])
    with database.transaction() as transaction:
        transaction.add(
            TrustRow(id=trust_id, user_id=caller.user_id, project_id=caller.project_id, created_at=utc_now())
        )
    return trust_id
