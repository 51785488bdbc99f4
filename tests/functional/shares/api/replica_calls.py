"""Calls about replicas, and what is looked at after them."""

from typing import Any

from sqlalchemy import select, update
from tests.functional.shares.api.parts import HOST, MEMBER, Shares
from tests.functional.shares.api.replica_ledger import BETA, ReplicaLedger, make_back_ends, work_off_all

from isthmus.control.database import utc_now
from isthmus.shares.model import Kind
from isthmus.shares.services import sweeping
from isthmus.shares.services.work import Work
from isthmus.shares.store import usage
from isthmus.shares.tables import InstanceRow, PoolRow

Row = dict[str, Any]


def replicating(shares: Shares) -> ReplicaLedger:
    """Return the ledger of three back ends; the default share type is replicated."""
    make_back_ends(shares)
    shares.share_type(replication_type="readable", revert_to_snapshot_support="True")
    return ReplicaLedger()


def share_with_rule(shares: Shares, driver: ReplicaLedger) -> str:
    """Return a share of 1 GiB at alpha with a rule."""
    body = {"share": {"size": 1, "share_proto": "NFS", "availability_zone": "north"}}
    share_id: str = shares.post("/shares", body, by=MEMBER)["share"]["id"]
    work_off_all(shares, driver)
    rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1"}}
    shares.post(f"/shares/{share_id}/action", rule, by=MEMBER)
    work_off_all(shares, driver)
    return share_id


def add(shares: Shares, driver: ReplicaLedger, share_id: str, **body: Any) -> Row:
    answer = shares.post("/share-replicas", {"share_replica": {"share_id": share_id, **body}}, 202, by=MEMBER)
    assert (answer["share_replica"]["status"], answer["share_replica"]["replica_state"]) == ("creating", "out_of_sync")
    work_off_all(shares, driver)
    return one(shares, answer["share_replica"]["id"])


def one(shares: Shares, replica_id: str) -> Row:
    found: Row = shares.get(f"/share-replicas/{replica_id}")["share_replica"]
    return found


def of(shares: Shares, share_id: str) -> Row:
    found: Row = shares.get(f"/shares/{share_id}")["share"]
    return found


def replicas(shares: Shares, share_id: str) -> dict[str, Row]:
    found = shares.get(f"/share-replicas/detail?share_id={share_id}")["share_replicas"]
    return {each["id"]: each for each in found}


def active(shares: Shares, share_id: str) -> str:
    (found,) = [each["id"] for each in replicas(shares, share_id).values() if each["replica_state"] == "active"]
    return str(found)


def act(
    shares: Shares, replica_id: str, action: str, argument: object = None, status: int = 202, **options: Any
) -> Any:
    return shares.call("POST", f"/share-replicas/{replica_id}/action", {action: argument}, **options)


def counted(shares: Shares) -> tuple[int, int]:
    with shares.database.transaction() as session:
        found = usage.in_use(session, "p1")
    return found["share_replicas"], found["replica_gigabytes"]


def promised(shares: Shares, host: str) -> int:
    with shares.database.transaction() as session:
        return session.scalar(select(PoolRow.promised_gib).where(PoolRow.host == host)) or 0


def create(shares: Shares, *, by: Any = MEMBER, **body: Any) -> Any:
    return shares.call("POST", "/share-replicas", {"share_replica": body}, by=by)


def look(shares: Shares, driver: ReplicaLedger, replica: str) -> None:
    """Have the replica looked at as after a time; two managers look at the same moment."""
    with shares.database.transaction() as session:
        session.execute(update(InstanceRow).where(InstanceRow.id == replica).values(replica_asked_at=None))
    for host in (HOST, BETA):
        with shares.database.transaction() as session:
            sweeping.look_at_replicas(session, Work(shares.conf, shares.database, driver, host, utc_now))
    assert [job.kind for job in shares.jobs()].count(Kind.UPDATE_REPLICA) == 1
    work_off_all(shares, driver)
