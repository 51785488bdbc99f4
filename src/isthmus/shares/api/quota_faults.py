"""What a caller is told whose quota is used up, in Manila's words."""

from collections.abc import Mapping

from isthmus.control.errors import NotAllowed
from isthmus.shares.api.call import Call
from isthmus.shares.api.faults import QuotaExceeded
from isthmus.shares.store import usage
from isthmus.shares.store.usage import Over, Owner

_WORDS = {
    "gigabytes": "Requested share exceeds allowed project/user or share type gigabytes quota.",
    "shares": "Maximum number of shares allowed ({limit}) either per project/user or share type quota is exceeded.",
    "snapshots": "Maximum number of snapshots allowed ({limit}) either per project/user or share type quota is "
    "exceeded.",
    "snapshot_gigabytes": "Requested snapshot exceeds allowed project/user or share type gigabytes quota.",
    "share_networks": "Maximum number of share-networks allowed ({limit}) exceeded.",
    "share_groups": "Maximum number of allowed share-groups is exceeded.",
    "share_group_snapshots": "Maximum number of allowed share-group-snapshots is exceeded.",
    "share_replicas": "Failed while creating a share with replication support. Maximum number of allowed "
    "share-replicas is exceeded.",
    "replica_gigabytes": "Failed while creating a share with replication support. Requested share replica exceeds "
    "allowed project/user or share type gigabytes quota.",
    "replica_gigabytes on growth": "Failed while extending a share with replication support. There is no available "
    "quota to extend the share and its replicas. Maximum number of allowed replica_gigabytes is exceeded.",
    "encryption_keys": "Maximum number of allowed encryption keys is exceeded.",
}


def take_quota(call: Call, owner: Owner, deltas: Mapping[str, int]) -> None:
    """Count `deltas` for the owner; raise `QuotaExceeded` if they are not free."""
    over = usage.take(call.session, call.conf, owner, deltas)
    if over is not None:
        raise QuotaExceeded(words_of(over))


def take_growth(call: Call, owner: Owner, gib: int, replicas: int = 0) -> None:
    """Count the gigabytes that a share, and each of its replicas, grows by.

    Manila answers 403 where they are not free, and 413 where those of replicas are not.
    """
    deltas = {"gigabytes": gib} | ({"replica_gigabytes": replicas * gib} if replicas else {})
    over = usage.take(call.session, call.conf, owner, deltas)
    if over is None:
        return
    if over.resource == "replica_gigabytes":
        raise QuotaExceeded(_WORDS["replica_gigabytes on growth"])
    raise NotAllowed(words_of(over))


def words_of(over: Over) -> str:
    """Return the sentence about a limit that would be passed."""
    return _WORDS[over.resource].format(limit=over.limit)


def refuse_too_large(call: Call, gib: int, share_type_id: str | None) -> None:
    """Raise `QuotaExceeded` if a share of this size passes the limit for one share, the user's or its type's."""
    limits = usage.project_limits(call.session, call.conf, call.project_id)
    limits |= usage.user_limits(call.session, call.project_id, call.caller.user_id)
    typed = usage.type_limits(call.session, call.project_id, share_type_id) if share_type_id else {}
    for limit in (limits["per_share_gigabytes"], typed.get("per_share_gigabytes", -1)):
        if 0 <= limit < gib:
            raise QuotaExceeded(f"Requested share size {gib} is larger than maximum allowed limit {limit}.")
