from tests.functional.shares.api.parts import ADMIN, COLLEAGUE, MEMBER, POOL, STRANGER, Shares, refused


def make(shares: Shares, by=MEMBER, **body) -> dict:
    answer = shares.post("/shares", {"share": {"size": 1, "share_proto": "NFS", **body}}, by=by)
    return answer["share"]


def test_a_new_share_is_placed_and_its_back_end_told(shares: Shares) -> None:
    type_id = shares.share_type()
    shares.back_end()
    made = make(shares, name="home", metadata={"a": "b"})
    assert made["status"] == "creating"
    assert made["share_type"] == type_id
    assert made["share_type_name"] == "gold"
    assert made["metadata"] == {"a": "b"}
    assert "host" not in made
    assert shares.get(f"/shares/{made['id']}")["share"]["host"] == POOL
    (job,) = shares.jobs()
    assert (job.kind, job.subject, job.backend) == ("create_share", made["id"], "node@alpha")


def test_only_its_project_sees_a_share(shares: Shares) -> None:
    shares.share_type()
    shares.back_end()
    made = make(shares)
    assert shares.get(f"/shares/{made['id']}", by=COLLEAGUE)["share"]["id"] == made["id"]
    refused(shares.call("GET", f"/shares/{made['id']}", by=STRANGER), 404)
    assert shares.get("/shares", by=STRANGER)["shares"] == []
    assert shares.get("/shares", by=ADMIN)["shares"] == []
    assert len(shares.get("/shares/detail?all_tenants=1&with_count=true", by=ADMIN)["shares"]) == 1
