"""Make the default share type and group type: `python -m isthmus.shares.services.first_types --config-file FILE …`.

Under `isthmus up` a share shall work within seconds of the first start. Types that are there are left as they are.
"""

import sys
import uuid
from collections.abc import Sequence

from oslo_config.cfg import ConfigOpts
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from isthmus.control.configuration import load
from isthmus.control.database import Database, utc_now
from isthmus.shares.tables import GroupTypeRow, GroupTypeShareTypeRow, ShareTypeRow, TypeSpecRow

SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
    "revert_to_snapshot_support": "True",
    "mount_snapshot_support": "True",
}


def make_first_types(session: Session, conf: ConfigOpts) -> None:
    """Make what `[shares] default_share_type` and `default_share_group_type` name."""
    share_type = conf.shares.default_share_type
    if not share_type:
        return
    type_id = _make_share_type(session, share_type)
    group_type = conf.shares.default_share_group_type
    if group_type:
        _make_group_type(session, group_type, type_id)


def _make_share_type(session: Session, name: str) -> str:
    found = session.scalar(select(ShareTypeRow.id).where(ShareTypeRow.name == name))
    if found is not None:
        return found
    made = str(uuid.uuid4())
    session.execute(insert(ShareTypeRow).values(id=made, name=name, is_public=True, created_at=utc_now()))
    session.execute(insert(TypeSpecRow), [{"type_id": made, "key": key, "value": SPECS[key]} for key in SPECS])
    return made


def _make_group_type(session: Session, name: str, share_type_id: str) -> None:
    if session.scalar(select(GroupTypeRow.id).where(GroupTypeRow.name == name)) is not None:
        return
    made = str(uuid.uuid4())
    session.execute(insert(GroupTypeRow).values(id=made, name=name, is_public=True, created_at=utc_now()))
    session.execute(insert(GroupTypeShareTypeRow).values(group_type_id=made, share_type_id=share_type_id))


def main(arguments: Sequence[str]) -> None:
    """Make them in the configured database."""
    conf = load(arguments)
    database = Database(conf.database.connection)
    with database.transaction() as session:
        make_first_types(session, conf)
    database.close()


if __name__ == "__main__":
    main(sys.argv[1:])
