"""A user of the shares API as a program is one: a Keystone token, the catalog's address, JSON and Manila's faults."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from requests import Response

from lab.rest_user import RestUser

NEWEST = "2.99"
Found = TypeVar("Found")
TRANSITIONAL = frozenset(
    (
        *("creating", "creating_from_snapshot", "deleting", "extending", "shrinking", "reverting", "restoring"),
        *("manage_starting", "unmanage_starting", "migrating", "migrating_to", "ensuring", "awaiting_transfer"),
    )
)
"""Statuses that an object leaves by itself."""
FAULT_NAMES: Mapping[int, str] = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "computeFault",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    422: "computeFault",
}


class ShareUser(RestUser):
    """One user in one project. `call` gives the raw answer, `made` that of a call that must succeed."""

    def stranger(self) -> "ShareUser":
        """Make a plain user in a project of their own, with this administrator's rights, and return them."""
        made = super().stranger()
        return ShareUser(made.auth_url, made.name, made.password, made.project)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        version: str | None = NEWEST,
        raw: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Return the API's answer, whatever it is. `raw` is sent as it is; None as `version` sends no such header."""
        content = {"data": raw} if raw is not None else ({} if body is None else {"json": body})
        named = {} if version is None else {"X-OpenStack-Manila-API-Version": version}
        answer: Response = self._session.request(
            path,
            method,
            endpoint_filter={"service_type": "shared-file-system"},
            raise_exc=False,
            headers={**({"Content-Type": "application/json"} if raw is not None else {}), **named, **(headers or {})},
            **content,
        )
        return answer

    def fault(self, status: int, method: str, path: str, body: object = None, **how: Any) -> str:
        """Return the message of a call that must fail with this status in Manila's fault form."""
        answer = self.call(method, path, body, **how)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        found = answer.json()
        assert list(found) == [FAULT_NAMES[status]], found
        fault = found[FAULT_NAMES[status]]
        assert fault["code"] == status
        assert isinstance(fault["message"], str)
        return str(fault["message"])

    def share(self, size: int = 1, protocol: str = "NFS", **more: Any) -> dict[str, Any]:
        """Create a share of some GiB and return it when it is available."""
        body = {"share": {"size": size, "share_proto": protocol, **more}}
        made = self.made("POST", "/shares", body)["share"]
        return self.settled(f"/shares/{made['id']}", "share")

    def snapshot(self, share: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Take a snapshot of a share and return it when it is available."""
        made = self.made("POST", "/snapshots", {"snapshot": {"share_id": share["id"], **more}})["snapshot"]
        return self.settled(f"/snapshots/{made['id']}", "snapshot")

    def act(self, share: Mapping[str, Any], action: str, argument: object = None) -> Any:
        """Do something with a share and return the answer's JSON, if it has one."""
        return self.made("POST", f"/shares/{share['id']}/action", {action: argument})

    def resized(self, share: Mapping[str, Any], action: str, size: int) -> dict[str, Any]:
        """`extend` or `shrink` a share and return it when it is available."""
        self.act(share, action, {"new_size": size})
        return self.settled(f"/shares/{share['id']}", "share")

    def allow(self, share: Mapping[str, Any], to: str, level: str = "rw", kind: str = "ip") -> dict[str, Any]:
        """Let a client in and return the rule when it is active."""
        argument = {"access_type": kind, "access_to": to, "access_level": level}
        rule = self.act(share, "allow_access", argument)["access"]
        return self.settled(f"/share-access-rules/{rule['id']}", "access", field="state", wanted="active")

    def deny(self, share: Mapping[str, Any], rule: Mapping[str, Any]) -> None:
        """Take a rule away and return when it is gone."""
        self.act(share, "deny_access", {"access_id": rule["id"]})
        self.gone(f"/share-access-rules/{rule['id']}")

    def exports(self, share: Mapping[str, Any]) -> list[str]:
        """Return the paths by which a share can be mounted, preferred ones first."""
        found = self.made("GET", f"/shares/{share['id']}/export_locations")["export_locations"]
        return [each["path"] for each in sorted(found, key=lambda each: not each["preferred"])]

    def delete(self, share: Mapping[str, Any]) -> None:
        """Delete a share and return when it is gone."""
        self.made("DELETE", f"/shares/{share['id']}")
        self.gone(f"/shares/{share['id']}")

    def delete_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Delete a snapshot and return when it is gone."""
        self.made("DELETE", f"/snapshots/{snapshot['id']}")
        self.gone(f"/snapshots/{snapshot['id']}")

    def settled(
        self, path: str, key: str, *, field: str = "status", wanted: str = "available", limit: float = 120
    ) -> dict[str, Any]:
        """Wait until an object has the wanted status and return it; AssertionError if it comes to an error."""

        def is_settled() -> dict[str, Any] | None:
            shown: dict[str, Any] = self.made("GET", path)[key]
            failed = "error" in shown[field] and shown[field] != wanted
            assert not failed, f"{path}: {shown}; {self.messages()}"
            return shown if shown[field] == wanted else None

        return _awaited(is_settled, limit, f"{path} to be {wanted}")

    def gone(self, path: str, limit: float = 120) -> None:
        """Wait until there is nothing at a path."""
        _awaited(lambda: self.call("GET", path).status_code == 404 or None, limit, f"{path} to be gone")

    def messages(self) -> list[str]:
        """Return what the project's users were told, newest first."""
        return [each["user_message"] for each in self.made("GET", "/messages")["messages"]]

    def usage(self) -> dict[str, tuple[int, int]]:
        """Return how much is used, and reserved, of each quota of the project."""
        found = self.made("GET", f"/quota-sets/{self.project_id}/detail")["quota_set"]
        return {name: (each["in_use"], each["reserved"]) for name, each in found.items() if isinstance(each, dict)}

    @property
    def project_id(self) -> str:
        """The id of the user's project."""
        return str(self._session.get_project_id())


def _awaited(look: Callable[[], Found | None], limit: float, what: str) -> Found:
    deadline = time.monotonic() + limit
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit} s for {what}")
        time.sleep(0.1)
    return found
