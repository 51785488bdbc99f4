"""What `isthmus up` decides before it starts anything: directories, ports, credentials, parts."""

import json
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from lab.control_plane import free_ports

from isthmus.control.errors import Conflict, InvalidInput, NotFound
from isthmus.embedded import (
    access,
    credentials,
    keystone,
    network,
    network_agent,
    nfs3,
    plane,
    ports,
    processes,
    share_servers,
    shares,
)
from isthmus.embedded.credentials import Credentials
from isthmus.embedded.layout import DEFAULT_STATE_DIR, Layout, make_directories, open_layout, write_private
from isthmus.embedded.part import Site
from isthmus.embedded.ports import Ports
from isthmus.networking.binding import links
from isthmus.networking.binding.veth import far_name, near_name


@pytest.fixture
def site(tmp_path: Path) -> Site:
    layout = Layout(tmp_path)
    make_directories(layout)
    return Site(layout, Ports(), credentials.load_or_make(layout))


def test_the_option_wins_over_the_variable_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_STATE_DIR", "/srv/one")
    assert open_layout("/srv/two").state_dir == Path("/srv/two")
    assert open_layout(None).state_dir == Path("/srv/one")
    monkeypatch.delenv("ISTHMUS_STATE_DIR")
    assert open_layout(None).state_dir == Path(DEFAULT_STATE_DIR)


def test_a_state_directory_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"too long.*--state-dir"):
        open_layout("/" + "x" * 90)


def test_a_directory_of_other_things_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").touch()
    before = tmp_path.stat().st_mode
    with pytest.raises(InvalidInput, match="holds other files"):
        make_directories(Layout(tmp_path))
    assert tmp_path.stat().st_mode == before


def test_a_directory_that_cannot_be_made_is_named_with_the_way_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"file.*--state-dir"):
        make_directories(Layout(tmp_path / "file" / "below"))


def test_a_private_file_is_replaced_whole_and_unreadable_to_others(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write_private(file, "old")
    write_private(file, "new")
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_ports_not_named_are_those_of_the_last_start(site: Site) -> None:
    ports.remember(site.layout, ports.choose(site.layout, api=7000, keystone=None))
    assert ports.choose(site.layout, api=None, keystone=7001) == Ports(api=7000, keystone=7001)


@pytest.mark.parametrize("wrong", [{"api": 0}, {"keystone": 65536}, {"temporal": 65534}, {"barbican": 7667}])
def test_impossible_and_equal_ports_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="port"):
        Ports(**wrong)


def test_credentials_differ_each_time_and_stay_the_same_for_one_state_directory(site: Site) -> None:
    assert credentials.load_or_make(site.layout) == site.credentials
    assert Credentials() != Credentials()
    assert len(set(json.loads(site.layout.credentials.read_text()).values())) == 12


def test_credentials_that_an_older_version_did_not_know_are_made_once_and_kept(site: Site) -> None:
    kept = json.loads(site.layout.credentials.read_text())
    kept.pop("neutron")
    write_private(site.layout.credentials, json.dumps(kept))
    once = credentials.load_or_make(site.layout)
    assert once.admin == site.credentials.admin
    assert once.neutron != site.credentials.neutron
    assert credentials.load_or_make(site.layout) == once


def test_no_secret_shows_in_a_representation(site: Site) -> None:
    network.CHOICE.choose(site.layout, wanted=True)
    shown = repr(site) + repr(plane.all_parts(site))
    secrets = json.loads(site.layout.credentials.read_text()).values()
    assert not [secret for secret in secrets if secret in shown]


def test_no_secret_is_in_a_command_or_an_environment(site: Site) -> None:
    network.CHOICE.choose(site.layout, wanted=True)
    secrets = json.loads(site.layout.credentials.read_text()).values()
    for part in plane.all_parts(site):
        seen = " ".join([*part.command, *part.environment.values()])
        if part.preparation:
            seen += " ".join([*part.preparation.command, *part.preparation.environment.values()])
            seen += part.preparation.stamp_text
        assert not [secret for secret in secrets if secret in seen], part.name


def test_the_parts_are_those_the_commands_know(site: Site) -> None:
    assert tuple(part.name for part in plane.all_parts(site)) == plane.PART_NAMES


def test_networks_once_chosen_are_started_until_they_are_unchosen(site: Site) -> None:
    def names() -> tuple[str, ...]:
        return tuple(part.name for part in plane.all_parts(site))

    network.CHOICE.choose(site.layout, wanted=True)
    network.CHOICE.choose(site.layout, wanted=None)
    assert names() == plane.EVERY_PART_NAME
    network.CHOICE.choose(site.layout, wanted=False)
    network.CHOICE.choose(site.layout, wanted=None)
    assert names() == plane.PART_NAMES


def test_nfs_3_once_chosen_is_served_until_it_is_unchosen(site: Site) -> None:
    def versions() -> str:
        share_servers.configure(site)
        text = (site.layout.of("shares") / "ganesha.conf").read_text()
        return next(line.strip() for line in text.splitlines() if "Protocols" in line)

    shares.choose(site.layout, None, nfs3_wanted=True)
    shares.choose(site.layout, None, nfs3_wanted=None)
    assert versions() == "Protocols = 3, 4;"
    assert "nfs_versions = 3, 4" in share_servers.backend_section(site)
    shares.choose(site.layout, None, nfs3_wanted=False)
    assert versions() == "Protocols = 4;"
    assert "nfs_versions" not in share_servers.backend_section(site)


def test_nfs_3_is_not_for_back_ends_of_an_operators_file(site: Site, tmp_path: Path) -> None:
    given = tmp_path / "shares.conf"
    given.write_text("[shares]\nenabled_backends = array\n")
    with pytest.raises(InvalidInput, match="set nfs_versions there"):
        shares.choose(site.layout, given, nfs3_wanted=True)
    assert not nfs3.CHOICE.is_chosen(site.layout)


def test_choosing_networks_prepares_keystone_again(site: Site) -> None:
    before = keystone.part(site, network.directory(site)).preparation
    network.CHOICE.choose(site.layout, wanted=True)
    after = keystone.part(site, network.directory(site)).preparation
    assert before
    assert after
    assert before.stamp_text != after.stamp_text


def test_a_taken_port_of_a_part_that_is_not_started_is_no_trouble() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        wanted = replace(Ports(**free_ports()), neutron=taken.getsockname()[1])
        ports.check_free(wanted, unused=("neutron",))
        with pytest.raises(Conflict, match=r"\(for neutron\) is taken .*--neutron-port"):
            ports.check_free(wanted)


def test_interfaces_are_named_alike_by_those_who_make_and_those_who_clear_them() -> None:
    assert near_name("12345678901").removeprefix(network_agent.NEAR) == "12345678901"
    assert far_name("12345678901").removeprefix(network_agent.FAR) == "12345678901"
    assert links.MARK == network_agent.MARK


def test_only_brings_what_the_named_parts_need(site: Site) -> None:
    assert [part.name for part in plane.choose_parts(site, ("keystone",))] == ["mariadb", "keystone"]
    with pytest.raises(InvalidInput, match="no part nova"):
        plane.choose_parts(site, ("nova",))


def test_a_changed_port_prepares_keystone_again_and_the_same_does_not(site: Site) -> None:
    def stamp_of(one: Site) -> str:
        preparation = {part.name: part for part in plane.all_parts(one)}["keystone"].preparation
        assert preparation
        return preparation.stamp_text

    assert stamp_of(site) == stamp_of(replace(site, credentials=Credentials()))
    assert stamp_of(site) != stamp_of(replace(site, ports=Ports(barbican=9311)))


def test_env_knows_two_users_and_says_what_to_do_before_the_first_start(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="isthmus up"):
        access.environment(Layout(tmp_path / "none"), "admin")
    with pytest.raises(NotFound, match="admin, demo"):
        access.environment(site.layout, "root")
    with pytest.raises(NotFound, match=r"admin, demo$"):
        access.environment(site.layout, "demo2")


def test_parts_do_not_inherit_what_points_at_another_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_CLOUD", "elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    clean = processes.clean_environment()
    assert "OS_CLOUD" not in clean
    assert "PYTHONPATH" not in clean
    assert clean["PATH"] == os.environ["PATH"]


def test_a_log_is_moved_aside_only_when_it_has_grown_large(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("short")
    processes.rotate(log)
    assert log.exists()
    os.truncate(log, processes.LARGEST_LOG + 1)
    processes.rotate(log)
    assert [file.name for file in tmp_path.iterdir()] == ["part.log.1"]


def test_a_log_that_is_being_written_is_emptied_under_its_writer(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    with log.open("ab") as writer:
        writer.truncate(processes.LARGEST_LOG + 1)
        processes.rotate_open(log)
        writer.write(b"goes on")
    assert log.read_text() == "goes on"
    assert (tmp_path / "part.log.1").stat().st_size == processes.LARGEST_LOG + 1
