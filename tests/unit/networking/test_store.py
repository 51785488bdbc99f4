"""The agent's store: guarded moves, and ports that are in one table only."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from isthmus.networking.model import (
    Attachment,
    Fate,
    FixedIp,
    Key,
    Label,
    Network,
    Owner,
    Port,
    Protocol,
    PublishedPort,
    Route,
    Row,
    SparePort,
    State,
    Subnet,
    Target,
    TargetKind,
    Wish,
)
from isthmus.networking.store.attachments import AttachmentStore
from isthmus.networking.store.database import FIRST, Database
from isthmus.networking.store.networks import NetworkStore
from isthmus.networking.store.publications import Publication, PublicationStore
from isthmus.networking.store.spare_ports import Pool, SparePortStore

SUBNET = Subnet(
    "s", "sub", "p", "n", ip_network("10.0.0.0/24"), ip_address("10.0.0.1"), (ip_address("10.0.0.2"),),
    (Route(ip_network("10.8.0.0/16"), ip_address("10.0.0.9")), Route(ip_network("10.7.0.0/16"), None)),
    tags=frozenset({"b", "a"}),
)  # fmt: skip
NETWORK = Network("n", "net", "p", 1442, (SUBNET,), tags=frozenset({"x"}))
PORT = Port(
    "port", "name", "p", "n", "fa:16:3e:00:00:01", (FixedIp("s", ip_address("10.0.0.5")),), "DOWN",
    vif_type="ovs", vif_details={"a": 1}, security_groups=("g",), tags=frozenset({"t"}),
)  # fmt: skip
KEY = Key(Owner.LIBNETWORK, "endpoint")
WISH = Wish(KEY, "n", addresses=(ip_address("10.0.0.5"),), label=Label("l", "d", tags=frozenset({"k"})))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "agent.sqlite")
    yield made
    made.close()


def reserving(key: Key = KEY) -> Row:
    return Row(Attachment(replace(WISH, key=key), State.RESERVING), "p", "ovs")


def warm(port_id: str, *, prepared: bool = False) -> SparePort:
    return SparePort(replace(PORT, id=port_id), Fate.WARM, "pool", "p", "ovs", prepared=prepared)


def test_an_attachment_is_read_as_it_was_written(database: Database) -> None:
    store = AttachmentStore(database)
    assert store.insert(reserving())
    assert not store.insert(reserving())
    assert store.set_port(KEY, PORT, NETWORK, labelled=False)
    target = Target(TargetKind.NETNS, "eth0", "/run/netns/x")
    assert store.aim(KEY, target)
    assert store.plugged(KEY, "tap", "eth0")
    found = store.find(KEY)
    assert found is not None
    assert found.attachment == Attachment(WISH, State.PLUGGED, PORT, NETWORK, target, "tap", "eth0")


def test_moves_are_won_only_from_their_states(database: Database) -> None:
    store = AttachmentStore(database)
    store.insert(reserving())
    assert not store.aim(KEY, Target(TargetKind.ENGINE))
    assert store.set_port(KEY, PORT, NETWORK, labelled=True)
    assert not store.set_port(KEY, PORT, NETWORK, labelled=True)
    assert not store.plugged(KEY, "tap", "eth0")
    assert store.move(KEY, (State.RESERVED,), State.RELEASING)
    assert not store.move(KEY, (State.RESERVED,), State.RELEASING)
    assert not store.rename(KEY, replace(WISH, key=Key(Owner.LIBNETWORK, "other")))


def test_a_port_is_attached_once(database: Database) -> None:
    store = AttachmentStore(database)
    other = Key(Owner.CNI, "other")
    store.insert(reserving())
    store.insert(reserving(other))
    store.borrow(KEY, "port", {"device_id": ""})
    with pytest.raises(sqlite3.IntegrityError):
        store.borrow(other, "port", {"device_id": ""})
    assert store.find(KEY).borrowed == {"device_id": ""}  # type: ignore[union-attr]


def test_a_label_of_a_wish_that_changed_meanwhile_is_not_taken_for_its_own(database: Database) -> None:
    store = AttachmentStore(database)
    store.insert(reserving())
    store.set_port(KEY, PORT, NETWORK, labelled=False)
    (old,) = store.list_unlabelled()
    new = replace(WISH, key=Key(Owner.LIBNETWORK, "new"))
    assert store.rename(KEY, new)
    store.labelled(old, PORT)
    assert [row.key for row in store.list_unlabelled()] == [new.key]
    store.labelled(store.list_unlabelled()[0], PORT)
    assert store.list_unlabelled() == ()


def test_a_warm_port_is_taken_by_one(database: Database) -> None:
    spares, attachments = SparePortStore(database), AttachmentStore(database)
    spares.put(warm("one"))
    spares.put(warm("two", prepared=True))
    taken = spares.take("pool", WISH, NETWORK)
    assert taken is not None
    assert taken.attachment.port is not None
    assert taken.attachment.port.id == "two"  # what is prepared goes first
    other = replace(WISH, key=Key(Owner.LIBNETWORK, "other"))
    assert spares.take("pool", replace(other, network_id="n"), NETWORK) is not None
    assert spares.take("pool", replace(other, key=Key(Owner.CNI, "third")), NETWORK) is None
    assert attachments.find_by_address(Owner.LIBNETWORK, "n", ip_address("10.0.0.5")) is not None
    assert spares.known_ports() == {"one", "two"}
    assert spares.count_warm() == {}


def test_taking_for_a_key_that_has_a_port_takes_nothing(database: Database) -> None:
    spares = SparePortStore(database)
    spares.put(warm("one"))
    spares.put(warm("two"))
    assert spares.take("pool", WISH, NETWORK) is not None
    assert spares.take("pool", WISH, NETWORK) is None
    assert spares.count_warm() == {"pool": 1}


def test_a_release_moves_the_port_in_one_step(database: Database) -> None:
    spares, attachments = SparePortStore(database), AttachmentStore(database)
    spares.put(warm("one"))
    spares.take("pool", WISH, NETWORK)
    doomed = replace(warm("one"), fate=Fate.DOOMED, borrowed={"device_id": "x"})
    assert spares.release(KEY, doomed)
    assert not spares.release(KEY, doomed)
    assert attachments.find(KEY) is None
    assert spares.list_all(Fate.DOOMED) == (doomed,)
    spares.gone("one")
    assert spares.known_ports() == frozenset()


def test_a_forgotten_network_dooms_its_warm_ports(database: Database) -> None:
    spares = SparePortStore(database)
    spares.use_pool(Pool("pool", "p", "n", 5.0))
    spares.use_pool(Pool("pool", "p", "n", 3.0))
    assert spares.pools() == (Pool("pool", "p", "n", 5.0),)
    spares.put(warm("one"))
    spares.forget_pools("n")
    assert spares.pools() == ()
    assert [spare.fate for spare in spares.list_all()] == [Fate.DOOMED]


def test_networks_are_recalled_by_id_and_by_a_name_that_is_theirs_alone(database: Database) -> None:
    store = NetworkStore(database)
    store.remember("p", NETWORK, 7.0)
    assert store.recall("p", "n") == (NETWORK, 7.0)
    assert store.recall("p", "net") == (NETWORK, 7.0)
    assert store.recall("q", "n") is None
    store.remember("p", replace(NETWORK, id="m"), 8.0)
    assert store.recall("p", "net") is None
    store.forget("n")
    assert store.recall("p", "n") is None


def test_publications_are_replaced_as_a_whole(database: Database) -> None:
    store = PublicationStore(database)
    one = Publication(KEY, PublishedPort(Protocol.TCP, 80, 8080, ip_address("10.0.0.7")), "fip")
    two = Publication(KEY, PublishedPort(Protocol.UDP, 53, 5353))
    store.replace(KEY, [one, two])
    assert set(store.list_all(KEY)) == {one, two}
    store.replace(KEY, [two])
    assert store.list_all() == (two,)


def test_a_port_published_on_two_addresses_is_two_publications(database: Database) -> None:
    store = PublicationStore(database)
    ports = [PublishedPort(Protocol.TCP, 80, 8080, ip_address(each)) for each in ("10.0.0.1", "127.0.0.1")]
    made = tuple(Publication(KEY, each) for each in (*ports, PublishedPort(Protocol.TCP, 80, 8080)))
    store.replace(KEY, made)
    assert set(store.list_all(KEY)) == set(made)


def test_a_file_of_the_first_version_keeps_what_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FIRST)
        old.execute("INSERT INTO publications VALUES ('libnetwork', 'endpoint', 'tcp', 80, 8080, NULL, 'fip')")
        old.execute("INSERT INTO publications VALUES ('libnetwork', 'endpoint', 'udp', 53, 53, '10.0.0.7', '')")
        old.execute("INSERT INTO pools VALUES ('pool', 'p', 'n', 5.0)")
        old.execute("PRAGMA user_version=1")
        old.commit()
    with closing(Database(path)) as database:
        assert set(PublicationStore(database).list_all()) == {
            Publication(KEY, PublishedPort(Protocol.TCP, 80, 8080), "fip"),
            Publication(KEY, PublishedPort(Protocol.UDP, 53, 53, ip_address("10.0.0.7"))),
        }
        spares = SparePortStore(database)
        assert spares.pools() == (Pool("pool", "p", "n", 5.0),)
        assert spares.rules("pool") is None
        spares.keep_rules("pool", "[]")
        assert spares.rules("pool") == "[]"


def test_a_store_survives_its_process(tmp_path: Path) -> None:
    first = Database(tmp_path / "agent.sqlite")
    AttachmentStore(first).insert(reserving())
    second = Database(tmp_path / "agent.sqlite")
    assert AttachmentStore(second).find(KEY) is not None
    assert (tmp_path / "agent.sqlite").stat().st_mode & 0o777 == 0o600
    first.close()
    second.close()
