"""Whom bad input to the shares API must not harm: a project with a share, a rule and a snapshot."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lab.share_user import ShareUser

UNKNOWN = "00000000-1111-2222-3333-444444444444"
LONG = "x" * 256
HUGE = 2**40
CLIENT = "198.51.100.7"


@dataclass(frozen=True)
class Victim:
    """A user of a project that has nothing but this share of 2 GiB, this rule for `CLIENT` and this snapshot."""

    user: ShareUser
    share: dict[str, Any]
    rule: dict[str, Any]
    snapshot: dict[str, Any]

    def everything(self) -> list[Any]:
        """Return all that the project has, and how much of its quotas is used."""
        rules = f"/share-access-rules?share_id={self.share['id']}"
        return [self.user.made("GET", path) for path in ("/shares/detail", "/snapshots/detail", rules, "/limits")]


@contextmanager
def victim_of(administrator: ShareUser) -> Iterator[Victim]:
    """Make a project and what is in it, and remove the share and its snapshot at the end."""
    user = administrator.stranger()
    share = user.share(2, name="victim", metadata={"kept": "yes"})
    rule = user.allow(share, CLIENT)
    snapshot = user.snapshot(share, name="victim's")
    yield Victim(user, share, rule, snapshot)
    user.delete_snapshot(snapshot)
    user.delete(share)
