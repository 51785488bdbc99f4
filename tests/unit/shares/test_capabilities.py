from isthmus.shares.drivers.facts import BackendReport, Pool
from isthmus.shares.scheduling.capabilities import capabilities_of

REPORT = BackendReport(("NFS", "CIFS"), (), snapshot_support=True, capabilities={"tier": "gold", "dedupe": True})


def test_a_pools_words_stand_above_its_back_ends() -> None:
    pool = Pool("one", 100.0, 40.5, reserved_percentage=5, capabilities={"tier": "tin"})
    found = capabilities_of("ALPHA", REPORT, pool)
    assert found["share_backend_name"] == "ALPHA"
    assert found["storage_protocol"] == "NFS_CIFS"
    assert (found["snapshot_support"], found["dedupe"], found["tier"]) == (True, True, "tin")
    assert (found["total_capacity_gb"], found["free_capacity_gb"]) == (100.0, 40.5)


def test_reserves_that_are_not_reported_are_the_general_one() -> None:
    found = capabilities_of("ALPHA", REPORT, Pool("one", 1, 1, reserved_percentage=5, reserved_snapshot_percentage=0))
    assert found["reserved_snapshot_percentage"] == 0
    assert found["reserved_share_extend_percentage"] == 5


def test_unknown_and_endless_space_are_words() -> None:
    found = capabilities_of("ALPHA", REPORT, Pool("one", float("inf"), None))
    assert (found["total_capacity_gb"], found["free_capacity_gb"]) == ("infinite", "unknown")
