"""What endpoints may use of the worker's machine: only what its operator has named, and for whom."""

from pathlib import Path
from typing import Any

import pytest

from isthmus.control.configuration import load
from isthmus.control.errors import InvalidInput, NotAllowed
from isthmus.migration.api.environments import check_connection
from isthmus.migration.morphing.contract import WayIn
from isthmus.migration.planning.work import EndpointRef
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.premises import Premises, parse_file_shares
from isthmus.migration.providers.registry import provider_class
from isthmus.migration.services.worker import premises_of, settings_of
from isthmus.migration.workflows.deployment_steps import way_in
from isthmus.migration.workflows.site import Clouds, WorkerSettings

AUTH = {"auth_url": "https://keystone.example.org/v3", "password": "swordfish"}
TLS = {"uri": "qemu+tls://192.0.2.7/system"}
OPERATORS = [
    ("openstack", {"auth": AUTH, "file_shares": {"10.0.0.5:/cinder": "/etc"}}, "set file_shares in"),
    ("openstack", {"auth": AUTH, "runtime_directory": "/etc"}, "set runtime_dir in"),
    ("images", {"path": "/srv", "runtime_directory": "/etc"}, "set runtime_dir in"),
    ("libvirt", {**TLS, "nbd": {"worker_certificates": "/etc/pki/libvirt"}}, "set nbd_certificates in"),
]


@pytest.mark.parametrize(("platform", "details", "says"), OPERATORS)
def test_a_place_on_the_worker_is_refused_by_the_api_and_by_the_worker(
    platform: str, details: dict[str, Any], says: str
) -> None:
    kind = provider_class(platform)
    with pytest.raises(InvalidInput, match=says) as told:
        check_connection(kind, details)
    assert "swordfish" not in told.value.message
    # Details that stand in a secret of the user's are seen by the worker first.
    clouds = Clouds(
        provider_class, lambda *_: details, allow_local=True, premises=Premises(image_directories=[Path("/")])
    )
    with pytest.raises(InvalidInput, match=says):
        clouds.any(EndpointRef("e1", platform, {"secret_ref": "ref"}, ()), None)


def test_a_directory_of_images_is_an_allowed_one_or_below_it_whatever_the_links_say(tmp_path: Path) -> None:
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    (allowed / "shop").mkdir(parents=True)
    secret.mkdir()
    (allowed / "link").symlink_to(secret)
    premises = Premises(image_directories=(allowed,))
    assert premises.image_directory(str(allowed / "shop")) == allowed / "shop"
    for path in (secret, allowed / "link", allowed / ".." / "secret", tmp_path, Path("/")):
        clouds = Clouds(provider_class, lambda *_, path=path: {"path": str(path)}, allow_local=True, premises=premises)
        with pytest.raises(NotAllowed, match="image_directories"):
            clouds.any(EndpointRef("e1", "images", {"secret_ref": "ref"}, ()), None)


def test_a_share_is_for_the_cloud_of_one_keystone_only() -> None:
    """Another Keystone's Cinder may claim that any file of the share is its tenant's volume."""
    lines = [
        "https://keystone.example.org/v3 10.0.0.5:/cinder /mnt/cinder",
        "https://other.example.org 10.0.0.5:/a /mnt/a",
    ]
    premises = Premises(file_shares=parse_file_shares(lines))
    assert Cloud({"auth": AUTH}, premises).file_shares == {"10.0.0.5:/cinder": Path("/mnt/cinder")}
    for address in ("https://keystone.example.org/v3/", "https://keystone.example.org"):
        assert Cloud({"auth": {**AUTH, "auth_url": address}}, premises).file_shares
    for address in ("http://keystone.example.org/v3", "https://keystone.example.org.evil.example/v3"):
        assert not Cloud({"auth": {**AUTH, "auth_url": address}}, premises).file_shares


@pytest.mark.parametrize("line", ["10.0.0.5:/cinder /mnt", "https://k 10.0.0.5:/cinder mnt", "k 10.0.0.5:/cinder /mnt"])
def test_a_line_that_names_no_share_is_told(line: str) -> None:
    with pytest.raises(InvalidInput, match="file_shares"):
        parse_file_shares([line])


def test_the_options_are_read(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.conf"
    shares = "file_shares = https://k/v3 a:/b /mnt/b\nfile_shares = https://k/v3 c:/d /mnt/d\n"
    file.write_text(f"[DEFAULT]\nstate_dir = /s\n[worker]\nimage_directories = /srv/a,/srv/b\n{shares}")
    conf = load(["--config-file", str(file)])
    found = premises_of(conf)
    assert (found.runtime, found.staging) == (Path("/s/open"), Path("/s/staging/images"))
    assert list(found.image_directories) == [Path("/srv/a"), Path("/srv/b")]
    assert found.shares_of("https://k/v3") == {"a:/b": Path("/mnt/b"), "c:/d": Path("/mnt/d")}
    assert found.nbd_certificates is None
    assert not settings_of(conf).allow_worker_kernel


def test_a_region_is_relayed_to_or_stored_for_not_both(tmp_path: Path) -> None:
    file = tmp_path / "isthmus.conf"
    file.write_text("[worker]\nrelays = a:hub,b:hub\nstaged = b:hub\n")
    with pytest.raises(InvalidInput, match=r"region b is in \[worker\] relays and in \[worker\] staged"):
        settings_of(load(["--config-file", str(file)]))
    file.write_text("[worker]\nrelays = a:hub\nstaged = b:hub\n")
    assert settings_of(load(["--config-file", str(file)])).staged == {"b": "hub"}


def test_a_tenant_cannot_have_the_workers_kernel_mount_a_guest() -> None:
    wish = {"morphing_way_in": "worker-kernel"}
    with pytest.raises(NotAllowed, match="worker-kernel"):
        way_in(wish, WorkerSettings(Path("/s")))
    disposable = WorkerSettings(Path("/s"), morphing_way_in=WayIn.WORKER_KERNEL, allow_worker_kernel=True)
    assert way_in({}, disposable) is way_in(wish, disposable) is WayIn.WORKER_KERNEL
    assert way_in({"morphing_way_in": "appliance"}, disposable) is WayIn.APPLIANCE


def test_a_workers_certificates_are_for_endpoints_without_a_key_of_their_own(tmp_path: Path) -> None:
    premises = Premises(nbd_certificates=tmp_path)
    own = {"tls_ca": "authority", "tls_certificate": "certificate", "tls_key": "key"}
    assert Hypervisor({**TLS, "tls_ca": "authority"}, premises).nbd_certificates == str(tmp_path)
    hypervisor = Hypervisor({**TLS, **own, "nbd": {"tls_ca": "of QEMU"}}, premises)
    try:
        place = Path(str(hypervisor.nbd_certificates))
        texts = {each.name: each.read_text().strip() for each in place.iterdir()}
        assert texts == {"ca-cert.pem": "of QEMU", "client-cert.pem": "certificate", "client-key.pem": "key"}
        assert {each.stat().st_mode & 0o777 for each in place.iterdir()} == {0o600}
    finally:
        hypervisor.close()
    assert not place.exists()


@pytest.mark.parametrize(
    ("details", "is_local"),
    [
        (TLS, True),
        ({**TLS, "tls_ca": "authority"}, False),
        ({**TLS, "tls_ca": "authority", "nbd": {"transport": "unix"}}, True),
        ({**TLS, "tls_ca": "authority", "nbd": {"socket_directory": "/etc"}}, True),
    ],
)
def test_sockets_and_certificates_of_the_workers_machine_need_the_operators_word(
    details: dict[str, Any], is_local: bool
) -> None:
    assert provider_class("libvirt").is_local(details) is is_local
