"""The shares API as the commands use it. Objects are Manila's JSON: what is shown is what it says."""

import ipaddress
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from isthmus.cli.client import JSON, RestApi
from isthmus.control.errors import InvalidInput, NotFound


class SharesApi(RestApi):
    """The shares of one project. Relative URLs of the adapter begin below `/v2`."""

    service = "shared-file-system"

    def services(self) -> list[JSON]:
        """Return the managers of back ends; for administrators."""
        found: list[JSON] = self._send("GET", "/services")["services"]
        return found

    def shares(self) -> list[JSON]:
        """Return all shares, newest first."""
        return self._pages("/shares/detail", "shares")

    def share(self, share_id: str) -> JSON:
        """Return one share by its id."""
        return self._mapping("GET", f"/shares/{share_id}", "share")

    def find_share(self, name_or_id: str) -> JSON:
        """Return one share by id or name; NotFound, InvalidInput if several have that name."""
        return _chosen("share", name_or_id, self.shares(), "isthmus share list")

    def create_share(self, body: Mapping[str, Any]) -> JSON:
        """Begin to create a share. `body` is the content of `{"share": …}`."""
        return self._mapping("POST", "/shares", "share", {"share": dict(body)})

    def delete_share(self, share_id: str) -> None:
        """Begin to delete a share."""
        self._send("DELETE", f"/shares/{share_id}")

    def extend_share(self, share_id: str, size_gib: int) -> None:
        """Begin to make a share larger."""
        self._act(share_id, "extend", {"new_size": size_gib})

    def exports(self, share_id: str) -> list[str]:
        """Return the paths by which a share can be mounted, preferred ones first."""
        found = self._send("GET", f"/shares/{share_id}/export_locations")["export_locations"]
        return [each["path"] for each in sorted(found, key=lambda each: not each.get("preferred"))]

    def rules(self, share_id: str) -> list[JSON]:
        """Return who may mount a share."""
        found: list[JSON] = self._send("GET", f"/share-access-rules?share_id={share_id}")["access_list"]
        return found

    def rule(self, rule_id: str) -> JSON:
        """Return one access rule."""
        return self._mapping("GET", f"/share-access-rules/{rule_id}", "access")

    def allow(self, share_id: str, client: str, level: str) -> JSON:
        """Begin to let a client in: an address or network, or else a user."""
        argument = {"access_type": access_type(client), "access_to": client, "access_level": level}
        rule: JSON = self._act(share_id, "allow_access", argument)["access"]
        return rule

    def deny(self, share_id: str, rule_id: str) -> None:
        """Begin to take an access rule away."""
        self._act(share_id, "deny_access", {"access_id": rule_id})

    def snapshots(self) -> list[JSON]:
        """Return all snapshots, newest first."""
        return self._pages("/snapshots/detail", "snapshots")

    def snapshot(self, snapshot_id: str) -> JSON:
        """Return one snapshot by its id."""
        return self._mapping("GET", f"/snapshots/{snapshot_id}", "snapshot")

    def find_snapshot(self, name_or_id: str) -> JSON:
        """Return one snapshot by id or name; NotFound, InvalidInput if several have that name."""
        return _chosen("snapshot", name_or_id, self.snapshots(), "isthmus share snapshot list")

    def create_snapshot(self, share_id: str, name: str | None) -> JSON:
        """Begin to take a snapshot of a share."""
        body = {"snapshot": {"share_id": share_id, "name": name}}
        return self._mapping("POST", "/snapshots", "snapshot", body)

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Begin to delete a snapshot."""
        self._send("DELETE", f"/snapshots/{snapshot_id}")

    def why(self, resource_id: str) -> str | None:
        """Return the newest message to users about an object, None if there is none."""
        query = urlencode({"resource_id": resource_id, "limit": 1})
        found = self._send("GET", f"/messages?{query}")["messages"]
        return str(found[0]["user_message"]) if found else None

    def _act(self, share_id: str, action: str, argument: JSON) -> Any:
        return self._send("POST", f"/shares/{share_id}/action", {action: argument})

    def _pages(self, url: str, key: str) -> list[JSON]:
        found: list[JSON] = []
        while page := self._send("GET", f"{url}?{urlencode({'limit': 1000, 'offset': len(found)})}")[key]:
            found += page
            if len(page) < 1000:
                break
        return found


def access_type(client: str) -> str:
    """Return `ip` for an address or a network, `user` for all else."""
    try:
        ipaddress.ip_network(client, strict=False)
    except ValueError:
        return "user"
    return "ip"


def _chosen(kind: str, name_or_id: str, found: list[JSON], look: str) -> JSON:
    by_id = [each for each in found if each["id"] == name_or_id]
    by_name = by_id or [each for each in found if each["name"] == name_or_id]
    if not by_name:
        raise NotFound(f"there is no {kind} '{name_or_id}': `{look}` shows all")
    if len(by_name) > 1:
        ids = ", ".join(each["id"] for each in by_name)
        raise InvalidInput(f"{len(by_name)} {kind}s are named '{name_or_id}': give one of the ids {ids}")
    return by_name[0]
