"""One user's random work with shares, while the service is being killed under them.

Whatever is refused, or gets no answer because nobody is there, is counted and gone on from; nothing is retried.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from keystoneauth1.exceptions import ClientException
from requests import Response

from lab.share_user import ShareUser

Row = dict[str, Any]
Done = tuple[str, Response] | None
MOST_SHARES = 8


class UnansweredError(Exception):
    """A list could not be had."""


class Work(threading.Thread):
    """Works until it is told to stop. `answers` counts what came of each operation, as `extend 202`."""

    def __init__(self, user: ShareUser, seed: int) -> None:
        super().__init__(name=f"share work {seed}", daemon=True)
        self.answers: Counter[str] = Counter()
        self.broken: list[str] = []
        self._user = user
        self._lot = random.Random(seed)
        self._ended = threading.Event()

    def stop(self) -> None:
        """Have it end after the call that is under way."""
        self._ended.set()

    def run(self) -> None:
        """Do one thing after the other."""
        operations: tuple[Callable[[], Done], ...] = (
            *(self._create, self._create, self._create_from_snapshot, self._delete, self._extend, self._shrink),
            *(self._allow, self._allow, self._deny, self._snapshot, self._delete_snapshot, self._revert),
        )
        while not self._ended.is_set():
            operation = self._lot.choice(operations)
            try:
                done = operation()
            except (ClientException, OSError, UnansweredError) as error:
                # Nobody is there, or the answer was cut off.
                self.answers[f"{operation.__name__.strip('_')} no answer"] += 1
                self.broken.append(f"{operation.__name__}: {error!r}"[:300])
            else:
                if done:
                    name, answer = done
                    self.answers[f"{name} {answer.status_code}"] += 1
                    if answer.status_code >= 500:
                        self.broken.append(f"{name}: {answer.status_code} {answer.text}"[:300])
            self._ended.wait(self._lot.uniform(0, 0.2))

    def _create(self) -> Done:
        if len(self._listed("/shares", "shares")) >= MOST_SHARES:
            return None
        body = {"size": self._lot.choice((1, 2)), "share_proto": self._lot.choice(("NFS", "NFS", "CIFS"))}
        return "create", self._user.call("POST", "/shares", {"share": body})

    def _create_from_snapshot(self) -> Done:
        snapshot = self._one("snapshots")
        if snapshot is None or len(self._listed("/shares", "shares")) >= MOST_SHARES:
            return None
        body = {"size": snapshot["share_size"], "share_proto": snapshot["share_proto"], "snapshot_id": snapshot["id"]}
        return "clone", self._user.call("POST", "/shares", {"share": body})

    def _delete(self) -> Done:
        share = self._one("shares")
        return None if share is None else ("delete", self._user.call("DELETE", f"/shares/{share['id']}"))

    def _extend(self) -> Done:
        return self._act("extend", lambda share: {"new_size": share["size"] + 1})

    def _shrink(self) -> Done:
        return self._act("shrink", lambda share: {"new_size": max(share["size"] - 1, 1)})

    def _allow(self) -> Done:
        argument = {
            "access_type": "ip",
            "access_to": f"192.0.2.{self._lot.randrange(256)}",
            "access_level": self._lot.choice(("rw", "ro")),
        }
        return self._act("allow_access", lambda _: argument, protocol="NFS")

    def _deny(self) -> Done:
        share = self._one("shares")
        if share is None:
            return None
        rules = self._listed(f"/share-access-rules?share_id={share['id']}", "access_list")
        if not rules:
            return None
        body = {"deny_access": {"access_id": self._lot.choice(rules)["id"]}}
        return "deny_access", self._user.call("POST", f"/shares/{share['id']}/action", body)

    def _snapshot(self) -> Done:
        share = self._one("shares")
        if share is None:
            return None
        return "snapshot", self._user.call("POST", "/snapshots", {"snapshot": {"share_id": share["id"]}})

    def _delete_snapshot(self) -> Done:
        snapshot = self._one("snapshots")
        if snapshot is None:
            return None
        return "delete snapshot", self._user.call("DELETE", f"/snapshots/{snapshot['id']}")

    def _revert(self) -> Done:
        snapshot = self._one("snapshots")
        if snapshot is None:
            return None
        body = {"revert": {"snapshot_id": snapshot["id"]}}
        return "revert", self._user.call("POST", f"/shares/{snapshot['share_id']}/action", body)

    def _act(self, action: str, argument: Callable[[Row], object], protocol: str | None = None) -> Done:
        share = self._one("shares", protocol)
        if share is None:
            return None
        return action, self._user.call("POST", f"/shares/{share['id']}/action", {action: argument(share)})

    def _listed(self, path: str, key: str) -> list[Row]:
        answer = self._user.call("GET", path)
        if answer.status_code == 404 or (answer.status_code == 400 and "not found" in answer.text):
            return []  # what it is about went meanwhile
        if answer.status_code != 200:
            raise UnansweredError(f"GET {path}: {answer.status_code} {answer.text}")
        found: list[Row] = answer.json()[key]
        return found

    def _one(self, kind: str, protocol: str | None = None) -> Row | None:
        fit = [each for each in self._listed(f"/{kind}/detail", kind) if protocol in {None, each["share_proto"]}]
        return self._lot.choice(fit) if fit else None
