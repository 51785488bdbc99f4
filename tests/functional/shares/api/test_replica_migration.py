"""Shares of replicated types that were made before there were replicas are counted as their own first ones."""

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, insert, select

from isthmus.control import migrations
from isthmus.control.database import utc_now

BEFORE, AFTER = "0004", "0007"


def test_first_replicas_are_counted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.sqlite"
    migrations.upgrade(url, BEFORE)
    engine = create_engine(url)
    with engine.begin() as connection:
        tables = _tables(connection)
        for identity, kind, size in (("a", "readable", 2), ("b", "readable", 3), ("c", None, 5), ("d", "readable", 0)):
            _share(connection, tables, identity, replication_type=kind, size=size)
        for user, share_type in (("", ""), ("u", ""), ("", "t"), ("other", "")):
            counted = {"shares": 3, "gigabytes": 10}
            _usage(connection, tables, user_id=user, share_type_id=share_type, **counted)
    migrations.upgrade(url, AFTER)
    with engine.begin() as connection:
        tables = _tables(connection)
        usages, instances = tables["share_usages"], tables["share_instances"]
        columns = (usages.c.user_id, usages.c.share_type_id, usages.c.share_replicas, usages.c.replica_gigabytes)
        found = {(user, kind): (count, gib) for user, kind, count, gib in connection.execute(select(*columns))}
        states: dict[str, str | None] = dict(
            connection.execute(select(instances.c.share_id, instances.c.replica_state)).all()
        )
        primary = set(connection.scalars(select(instances.c.is_primary)))
    engine.dispose()
    assert found == {("", ""): (2, 5), ("u", ""): (2, 5), ("", "t"): (2, 5), ("other", ""): (0, 0)}
    assert states == {"a": "active", "b": "active", "c": None, "d": None}
    assert primary == {True}


def _tables(connection: Connection) -> dict[str, Any]:
    found = MetaData()
    found.reflect(connection)
    return dict(found.tables)


def _share(connection: Connection, tables: dict[str, Any], identity: str, **facts: Any) -> None:
    flags = {column.name: False for column in tables["share_shares"].columns if str(column.type) == "BOOLEAN"}
    made = {"id": identity, "project_id": "p", "user_id": "u", "protocol": "NFS", "created_at": utc_now()}
    connection.execute(insert(tables["share_shares"]).values(**flags, **made, **facts))
    instance: dict[str, Any] = {
        "id": identity,
        "share_id": identity,
        "status": "available",
        "access_rules_status": "active",
    }
    instance |= {"share_type_id": "t", "cast_rules_to_readonly": False, "created_at": utc_now()}
    connection.execute(insert(tables["share_instances"]).values(**instance))


def _usage(connection: Connection, tables: dict[str, Any], **facts: Any) -> None:
    table = tables["share_usages"]
    zeros = {column.name: 0 for column in table.columns if not column.primary_key}
    connection.execute(insert(table).values(**{**zeros, "project_id": "p", **facts}))
