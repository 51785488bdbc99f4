"""The queue of share jobs on a real MariaDB: order, leases, and several managers at once."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from isthmus.control.database import Database
from isthmus.shares.model import Kind
from isthmus.shares.store import jobs
from isthmus.shares.store.jobs import Job

NOW = datetime.fromisoformat("2030-01-01")
LEASE = timedelta(seconds=15)
BACKEND = "machine@queue"


def put(
    database: Database,
    subject: str,
    *,
    kind: Kind = Kind.EXTEND_SHARE,
    not_before: datetime | None = None,
    project_id: str | None = "project",
) -> None:
    host = f"{BACKEND}#pool"
    with database.transaction() as session:
        jobs.enqueue(
            session, host=host, kind=kind, subject=subject, now=NOW, not_before=not_before, project_id=project_id
        )


def claim(database: Database, owner: str, *, now: datetime = NOW, limit: int = 10) -> list[Job]:
    with database.transaction() as session:
        return jobs.claim(session, backends=[BACKEND], owner=owner, now=now, lease=LEASE, limit=limit)


def finish(database: Database, job: Job, owner: str) -> bool:
    with database.transaction() as session:
        return jobs.finish(session, job, owner)


def test_jobs_of_one_share_are_given_out_one_after_another(database: Database) -> None:
    share, other = str(uuid.uuid4()), str(uuid.uuid4())
    put(database, share, kind=Kind.EXTEND_SHARE)
    put(database, share, kind=Kind.DELETE_SHARE)
    put(database, other)

    first = claim(database, "a")
    assert [(job.subject, job.kind) for job in first] == [(share, Kind.EXTEND_SHARE), (other, Kind.EXTEND_SHARE)]
    assert claim(database, "b") == []
    assert finish(database, first[0], "a")
    assert [job.kind for job in claim(database, "b")] == [Kind.DELETE_SHARE]


def test_an_older_job_that_comes_to_light_later_waits_for_the_younger(database: Database) -> None:
    share = str(uuid.uuid4())
    with database.transaction() as slow:
        jobs.enqueue(slow, host=f"{BACKEND}#pool", kind=Kind.EXTEND_SHARE, subject=share, now=NOW)
        put(database, share, kind=Kind.UPDATE_ACCESS)
        (younger,) = claim(database, "a")
    assert younger.kind is Kind.UPDATE_ACCESS

    assert claim(database, "b") == []
    assert finish(database, younger, "a")
    assert [job.kind for job in claim(database, "b")] == [Kind.EXTEND_SHARE]


def test_a_job_whose_lease_lapsed_is_anothers_and_the_first_may_record_nothing(database: Database) -> None:
    put(database, str(uuid.uuid4()))
    (first,) = claim(database, "dead")
    assert claim(database, "heir", now=NOW + LEASE) == []

    (again,) = claim(database, "heir", now=NOW + LEASE + timedelta(seconds=1))
    assert (again.id, again.attempts) == (first.id, 2)
    assert not finish(database, first, "dead")
    assert finish(database, again, "heir")


def test_a_kept_lease_is_not_taken(database: Database) -> None:
    put(database, str(uuid.uuid4()))
    (job,) = claim(database, "a")
    with database.transaction() as session:
        jobs.renew(session, owner="a", ids=[job.id], until=NOW + 3 * LEASE)
    assert claim(database, "b", now=NOW + 2 * LEASE) == []


def test_a_job_put_back_waits_and_holds_up_only_its_own_share(database: Database) -> None:
    share, other = str(uuid.uuid4()), str(uuid.uuid4())
    put(database, share)
    (job,) = claim(database, "a")
    with database.transaction() as session:
        jobs.put_back(session, job, "a", NOW + timedelta(seconds=5))
    put(database, share, kind=Kind.DELETE_SHARE)
    put(database, other)

    assert [each.subject for each in claim(database, "b")] == [other]
    later = claim(database, "b", now=NOW + timedelta(seconds=6))
    assert [each.kind for each in later] == [Kind.EXTEND_SHARE]


def test_the_jobs_of_a_dead_manager_are_free_at_once_when_that_is_known(database: Database) -> None:
    put(database, str(uuid.uuid4()))
    claim(database, "dead")
    with database.transaction() as session:
        assert "dead" in jobs.owners(session)
        jobs.release(session, "dead")
    assert len(claim(database, "heir")) == 1


def test_what_somebody_asks_for_comes_before_what_managers_do_by_themselves(database: Database) -> None:
    for _ in range(50):
        put(database, str(uuid.uuid4()), kind=Kind.UPDATE_ACCESS, project_id=None)
    asked = [str(uuid.uuid4()) for _ in range(2)]
    for subject in asked:
        put(database, subject)

    taken = claim(database, "a", limit=8)
    assert [job.subject for job in taken[:2]] == asked
    assert [job.kind for job in taken[2:]] == [Kind.UPDATE_ACCESS] * 6
    assert len(claim(database, "b", limit=100)) == 44


@pytest.mark.parametrize("managers", [2, 8])
def test_managers_at_once_share_the_jobs_and_never_take_one_twice(database: Database, managers: int) -> None:
    subjects = {str(uuid.uuid4()) for _ in range(60)}
    for subject in subjects:
        put(database, subject)

    def work(owner: str) -> list[str]:
        done = []
        while found := claim(database, owner, limit=3):
            done += [job.subject for job in found]
            assert all(finish(database, job, owner) for job in found)
        return done

    with ThreadPoolExecutor(managers) as pool:
        taken = [subject for each in pool.map(work, [f"manager {n}" for n in range(managers)]) for subject in each]
    left = [job.subject for job in claim(database, "last", limit=100)]
    assert sorted(taken + left) == sorted(subjects)
