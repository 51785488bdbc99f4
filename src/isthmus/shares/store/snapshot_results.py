"""What became of a snapshot instance, written in the transaction that ends its job."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from isthmus.shares.drivers.facts import ExportLocation
from isthmus.shares.tables import ShareRow, SnapshotExportRow


def keep_exports(
    session: Session, share_id: str, snapshot_instance_id: str, exports: Sequence[ExportLocation], now: datetime
) -> None:
    """Make these the export locations of an instance, if its share's snapshots can be mounted."""
    if not session.scalar(select(ShareRow.mount_snapshot_support).where(ShareRow.id == share_id)):
        return
    session.execute(delete(SnapshotExportRow).where(SnapshotExportRow.snapshot_instance_id == snapshot_instance_id))
    rows = [
        {
            "id": str(uuid.uuid4()),
            "snapshot_instance_id": snapshot_instance_id,
            "path": export.path,
            "is_admin_only": export.admin_only,
            "created_at": now,
            "updated_at": now,
        }
        for export in exports
    ]
    if rows:
        session.execute(insert(SnapshotExportRow), rows)
