"""The shares service's tables. `isthmus.control.migrations` (Alembic) makes them in a real database.

Times are UTC without a zone, whole seconds as Manila's API shows them. A deleted object's row is gone: what must
outlive it (messages, usage) has its own row. All of the service's tables are named `share_…`.
"""

from isthmus.shares.tables.groups import (
    GroupRow,
    GroupShareTypeRow,
    GroupSnapshotRow,
    GroupTypeRow,
    GroupTypeShareTypeRow,
)
from isthmus.shares.tables.limits import ProjectQuotaRow, QuotaClassRow, TypeQuotaRow, UsageRow, UserQuotaRow
from isthmus.shares.tables.networks import (
    NetworkRow,
    NetworkSecurityServiceRow,
    SecurityServiceRow,
    SubnetRow,
)
from isthmus.shares.tables.operations import (
    AvailabilityZoneRow,
    JobRow,
    LockRow,
    MessageRow,
    PoolRow,
    PrivateRow,
    ServiceRow,
    TransferRow,
)
from isthmus.shares.tables.shares import (
    ExportRow,
    InstanceRow,
    MetadataRow,
    RuleRow,
    RuleStateRow,
    ShareRow,
)
from isthmus.shares.tables.snapshots import (
    SnapshotExportRow,
    SnapshotInstanceRow,
    SnapshotRow,
    SnapshotRuleRow,
    SnapshotRuleStateRow,
)
from isthmus.shares.tables.types import QosTypeRow, ShareTypeRow, TypeProjectRow, TypeSpecRow

__all__ = [
    "AvailabilityZoneRow",
    "ExportRow",
    "GroupRow",
    "GroupShareTypeRow",
    "GroupSnapshotRow",
    "GroupTypeRow",
    "GroupTypeShareTypeRow",
    "InstanceRow",
    "JobRow",
    "LockRow",
    "MessageRow",
    "MetadataRow",
    "NetworkRow",
    "NetworkSecurityServiceRow",
    "PoolRow",
    "PrivateRow",
    "ProjectQuotaRow",
    "QosTypeRow",
    "QuotaClassRow",
    "RuleRow",
    "RuleStateRow",
    "SecurityServiceRow",
    "ServiceRow",
    "ShareRow",
    "ShareTypeRow",
    "SnapshotExportRow",
    "SnapshotInstanceRow",
    "SnapshotRow",
    "SnapshotRuleRow",
    "SnapshotRuleStateRow",
    "SubnetRow",
    "TransferRow",
    "TypeProjectRow",
    "TypeQuotaRow",
    "TypeSpecRow",
    "UsageRow",
    "UserQuotaRow",
]
