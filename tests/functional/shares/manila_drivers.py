"""Drivers written for Manila as third parties write them, each with something that the DummyDriver does not have."""

import errno
import importlib
from pathlib import Path
from typing import Any

from oslo_config import cfg

exception = importlib.import_module("manila.exception")
share_types = importlib.import_module("manila.share.share_types")
database = importlib.import_module("manila.db.api")
DummyDriver: Any = importlib.import_module("manila.tests.share.drivers.dummy").DummyDriver
ManilaShareDriver: Any = importlib.import_module("manila.share.driver").ShareDriver

OPTIONS = [
    cfg.StrOpt("plain_password", secret=True),
    cfg.StrOpt("plain_home", default="/srv"),
    cfg.ListOpt("plain_list"),
]


class PlainDriver(ManilaShareDriver):  # type: ignore[misc]
    """Without pools, and with the access methods of old; keeps rules in `held`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(False, *args, config_opts=[OPTIONS], **kwargs)
        self.private_storage = kwargs["private_storage"]
        self.held: dict[str, str] = {}

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> str:
        assert context.is_admin
        return f"{self.configuration.plain_home}/{share.name}"

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        raise exception.ShareResourceNotFound(share_id=share["id"])

    def allow_access(self, context: Any, share: Any, access: Any, share_server: Any = None) -> None:
        self.held[access["access_to"]] = access["access_level"]

    def deny_access(self, context: Any, share: Any, access: Any, share_server: Any = None) -> None:
        self.held.pop(access["access_to"], None)

    def ensure_share(self, context: Any, share: Any, share_server: Any = None) -> list[str] | None:
        if share["display_name"] == "broken":
            raise exception.ShareBackendException(msg="this one is broken")
        return [f"/moved/{share['name']}"] if share["display_name"] == "moved" else None

    def _update_share_stats(self, data: Any = None) -> None:
        super()._update_share_stats(
            {
                "storage_protocol": "NFS",
                "total_capacity_gb": "infinite",
                "free_capacity_gb": "unknown",
                "thin_provisioning": [True, False],
                "dedupe": [True, False],
                "reserved_percentage": "5",
            }
        )


class StrictDriver(PlainDriver):
    """Refuses a client that it lets in already, as IBM's GPFS driver does."""

    def allow_access(self, context: Any, share: Any, access: Any, share_server: Any = None) -> None:
        if access["access_to"] in self.held:
            raise exception.ShareAccessExists(access_type=access["access_type"], access=access["access_to"])
        super().allow_access(context, share, access, share_server)


class FailingDriver(PlainDriver):
    """Fails in all ways that drivers fail in."""

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> str:
        raise exception.ShareBackendException(msg=f"login admin:{self.configuration.plain_password} refused")

    def delete_share(self, context: Any, share: Any, share_server: Any = None) -> None:
        raise ConnectionRefusedError("array.example.com does not answer")

    def shrink_share(self, share: Any, new_size: int, share_server: Any = None) -> None:
        raise exception.ShareShrinkingPossibleDataLoss(share_id=share["id"])

    def extend_share(self, share: Any, new_size: int, share_server: Any = None) -> None:
        raise exception.StorageCommunicationException(msg="the array does not answer")

    def manage_existing(self, share: Any, driver_options: Any) -> None:
        raise exception.ManageInvalidShare(reason="it is a replica")

    def create_snapshot(self, context: Any, snapshot: Any, share_server: Any = None) -> None:
        database.share_get(context, snapshot["share_id"])

    def get_share_stats(self, refresh: bool = False) -> Any:
        if self.held:
            raise TimeoutError("the array is silent")
        return super().get_share_stats(refresh)


class SlowCloneDriver(PlainDriver):
    """Clones over several polls, tells metadata of new shares and ensures all shares at once."""

    def create_share_from_snapshot(
        self, context: Any, share: Any, snapshot: Any, share_server: Any = None, parent_share: Any = None
    ) -> dict[str, Any]:
        assert parent_share["id"] == snapshot["share_id"] == snapshot["share"].id
        self.private_storage.update(share["id"], {"polls": 0})
        return {"status": "creating_from_snapshot"}

    def get_share_status(self, share: Any, share_server: Any = None) -> dict[str, Any]:
        if share["display_name"] == "doomed":
            return {"status": "error"}
        assert share["status"] == "creating_from_snapshot"
        polls = int(self.private_storage.get(share["id"], key="polls")) + 1
        self.private_storage.update(share["id"], {"polls": polls})
        if polls < 2:
            return {"status": "creating_from_snapshot", "progress": "50%"}
        return {"status": "available", "export_locations": [{"path": "/clone", "metadata": {"preferred": "True"}}]}

    def get_optional_share_creation_data(self, share: Any, share_server: Any = None) -> dict[str, Any]:
        return {"metadata": {"__mount_options": "fs=one"}}

    def ensure_shares(self, context: Any, shares: Any) -> dict[str, Any]:
        return {share["id"]: {"export_locations": [{"path": "/new", "is_admin_only": True}]} for share in shares}


class TypedDriver(PlainDriver):
    """Asks for extra specs in each of the ways that drivers do."""

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> str:
        specs = share_types.get_extra_specs_from_share(share)
        assert specs == share_types.get_share_type_extra_specs(share["share_type_id"])
        assert specs == share_types.get_share_type(context, share["share_type_id"])["extra_specs"]
        return f"/{specs.get('plain:tier', 'none')}/{share_types.get_share_type_extra_specs(share.share_type_id, 'no')}"


class FiniteDummyDriver(DummyDriver):  # type: ignore[misc]
    """The DummyDriver with what storages have and it has not: an end of its room, and times of silence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values([cfg.StrOpt("finite_home"), cfg.IntOpt("finite_gib")])

    def create_share(self, context: Any, share: Any, share_server: Any = None) -> Any:
        self._answer()
        if share["size"] > self.configuration.finite_gib:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().create_share(context, share, share_server)

    def get_share_stats(self, refresh: bool = False) -> Any:
        self._answer()
        return super().get_share_stats(refresh)

    def _answer(self) -> None:
        if (Path(self.configuration.finite_home) / "silent").exists():
            raise ConnectionResetError("the storage went away")
