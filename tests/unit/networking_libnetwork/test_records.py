"""The file of what Docker's networks are in Neutron."""

from pathlib import Path

from isthmus.networking.libnetwork.options import EndpointOptions
from isthmus.networking.libnetwork.records import ExposedRecord, How, NetworkRecord, PoolRecord, Progress, Records

NETWORK = NetworkRecord("d1", "blue", "n1", Progress.READY, How.MADE, endpoint=EndpointOptions(("g",), None, False))


def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    records = Records(tmp_path / "records")
    pool = PoolRecord("p", None, "n1", "s1", 24)
    exposed = ExposedRecord("e", None, "port", "group", ("default",))
    records.keep_network(NETWORK)
    records.keep_pool(pool)
    records.keep_exposed(exposed)
    records.close()

    again = Records(tmp_path / "records")

    assert (again.network("d1"), again.pool("p"), again.exposed("e")) == (NETWORK, pool, exposed)
    again.close()


def test_the_newest_network_on_a_neutron_network_is_first() -> None:
    records = Records(":memory:")
    for docker_id, state in (("d1", Progress.READY), ("d2", Progress.READY), ("d3", Progress.MAKING)):
        records.keep_network(NetworkRecord(docker_id, None, "n1", state, How.ADOPTED))

    assert [each.docker_id for each in records.networks_on("n1")] == ["d2", "d1"]
    records.close()


def test_forgetting_twice_is_as_once() -> None:
    records = Records(":memory:")
    records.keep_network(NETWORK)
    for _ in range(2):
        records.forget_network("d1")
        records.forget_pool("p")
        records.forget_exposed("e")

    assert records.networks() == ()
    records.close()
