"""Facts as the rows of Manila's database that its drivers read: each is a dict, and an object with the same attributes.

Names and fields are those of `manila.db.sqlalchemy.models` and of the dicts that `manila.share.manager` makes of them.
A driver's "share" is a share *instance*, and a snapshot instance's `share_id` is that of its share instance.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from oslo_utils import strutils

from isthmus.shares.drivers.facts import AccessRule, ExportLocation, ShareFacts, SnapshotFacts

UNTYPED = "00000000-0000-0000-0000-000000000000"
"""Stands for the type of a share without one: Manila's drivers ask for extra specs by a type's id."""

_SUPPORTS = (
    "snapshot_support",
    "create_share_from_snapshot_support",
    "revert_to_snapshot_support",
    "mount_snapshot_support",
)


class Row(dict[str, Any]):
    """A row that can be read as `row["id"]`, `row.get("id")` and `row.id`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def to_dict(self) -> dict[str, Any]:
        """Return a plain copy, as Manila's rows do."""
        return dict(self)


def share_row(share: ShareFacts, **changes: Any) -> Row:
    """Return a share instance's row; `changes` are laid over it."""
    exports = [_export_row(export, share.instance_id) for export in share.exports]
    return Row(
        {
            "id": share.instance_id,
            "share_id": share.share_id,
            "name": share_name(share.instance_id),
            "share_name": share_name(share.instance_id),
            "display_name": share.name,
            "display_description": None,
            "size": share.size_gib,
            "share_proto": share.protocol,
            "host": share.host,
            "status": share.status,
            "project_id": share.project_id,
            "user_id": share.user_id,
            "share_type_id": share.share_type_id or UNTYPED,
            "share_type": Row(id=share.share_type_id or UNTYPED, extra_specs=dict(share.extra_specs)),
            "qos_type_id": None,
            "snapshot_id": share.snapshot_instance_id,
            "share_group_id": share.share_group_id,
            "source_share_group_snapshot_member_id": None,
            "share_network_id": share.share_network_id,
            "share_server_id": share.share_server_id,
            "share_server": None,
            "availability_zone": share.availability_zone,
            "availability_zone_id": None,
            "access_rules_status": "active",
            "replica_state": share.replica_state,
            "replication_type": share.replication_type,
            "cast_rules_to_readonly": share.read_only,
            "task_state": None,
            "progress": None,
            "is_public": False,
            "deleted": "False",
            "created_at": None,
            "updated_at": None,
            "scheduled_at": None,
            "launched_at": None,
            "terminated_at": None,
            "mount_point_name": share.mount_point_name,
            "encryption_key_ref": share.encryption_key_ref,
            "metadata": dict(share.metadata),
            "share_metadata": [Row(key=key, value=value) for key, value in share.metadata.items()],
            "export_locations": exports,
            "export_location": exports[0]["path"] if exports else None,
            **{name: strutils.bool_from_string(share.extra_specs.get(name, "")) for name in _SUPPORTS},
            **changes,
        }
    )


def snapshot_row(snapshot: SnapshotFacts, **changes: Any) -> Row:
    """Return a snapshot instance's row, its share's within; `changes` are laid over it."""
    share = share_row(snapshot.share)
    return Row(
        {
            "id": snapshot.instance_id,
            "snapshot_id": snapshot.snapshot_id,
            "name": f"share-snapshot-{snapshot.instance_id}",
            "display_name": None,
            "share": share,
            "share_instance": share,
            "share_id": share["id"],
            "share_instance_id": share["id"],
            "share_name": share["name"],
            "share_proto": share["share_proto"],
            "share_size": snapshot.size_gib,
            "size": snapshot.size_gib,
            "project_id": share["project_id"],
            "user_id": share["user_id"],
            "status": snapshot.status,
            "progress": None,
            "provider_location": snapshot.provider_location,
            "share_group_snapshot_id": snapshot.group_snapshot_id,
            "export_locations": [_export_row(export, snapshot.instance_id) for export in snapshot.exports],
            "deleted": "False",
            "created_at": None,
            "updated_at": None,
            **changes,
        }
    )


def rule_rows(rules: Sequence[AccessRule], share: ShareFacts) -> list[Row]:
    """Return rows of rules. Manila knows a rule by two ids, the share's and the instance's; these are one."""
    return [
        Row(
            {
                "id": rule.rule_id,
                "access_id": rule.rule_id,
                "share_id": share.share_id,
                "share_instance_id": share.instance_id,
                "access_type": rule.type.value,
                "access_to": rule.to,
                "access_level": rule.level.value,
                "access_key": rule.key,
                "state": "active",
                "deleted": "False",
            }
        )
        for rule in rules
    ]


def group_row(group_id: str, host: str) -> Row:
    """Return a share group's row."""
    return Row(
        {
            "id": group_id,
            "name": None,
            "description": None,
            "host": host,
            "status": "creating",
            "project_id": None,
            "user_id": None,
            "share_group_type_id": None,
            "source_share_group_snapshot_id": None,
            "share_network_id": None,
            "share_server_id": None,
            "share_types": [],
            "shares": [],
            "deleted": "False",
            "created_at": datetime.now(UTC),
        }
    )


def group_snapshot_row(group_snapshot_id: str, snapshots: Sequence[SnapshotFacts]) -> Row:
    """Return a group snapshot's row with its members, whose ids are those of the snapshots' instances."""
    members = [
        snapshot_row(snapshot, share_group_snapshot_id=group_snapshot_id, share_type_id=snapshot.share.share_type_id)
        for snapshot in snapshots
    ]
    return Row(
        {
            "id": group_snapshot_id,
            "name": None,
            "description": None,
            "status": "creating",
            "share_group_id": snapshots[0].share.share_group_id if snapshots else None,
            "project_id": members[0]["project_id"] if members else None,
            "user_id": members[0]["user_id"] if members else None,
            "share_group_snapshot_members": members,
            "deleted": "False",
            "created_at": datetime.now(UTC),
        }
    )


def share_name(instance_id: str) -> str:
    """Return what Manila calls a share instance on a back end (its option `share_name_template`)."""
    return f"share-{instance_id}"


def _export_row(export: ExportLocation, owner: str) -> Row:
    metadata: Mapping[str, str] = export.metadata
    return Row(
        {
            "path": export.path,
            "is_admin_only": export.admin_only,
            "preferred": export.preferred,
            "metadata": dict(metadata),
            "el_metadata": dict(metadata),
            "share_instance_id": owner,
        }
    )
