"""What is S3's own: keys, addresses, regions, certificates, and a worker that lends nothing of its own."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.functional.disks.certificates import certificates
from tests.image_packages import content_of, make_image
from tests.image_store_fixtures import Buckets, Containers, front_of, staged
from tests.libvirt_fixtures import Notes, read_all

from isthmus.control.errors import InvalidInput, NotAllowed, NotAuthenticated, NotFound, Unavailable
from isthmus.migration.providers.image_store.provider import ImageStoreProvider
from isthmus.migration.providers.premises import Premises

TRANSFER = "cccccccc-2222-3333-4444-555555555555"


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="/tmp/is-") as name:
        yield Path(name)


@pytest.fixture
def shelf(object_store: Containers, place: Path) -> Iterator[dict[str, Any]]:
    """Return details of a bucket with one image, web.raw of 4 MiB."""
    buckets = object_store.buckets
    with buckets.made("shelf") as (connection,):
        buckets.put("shelf", "web.raw", make_image(place / "web.raw", 4))
        yield connection


def check(connection: dict[str, Any], place: Path) -> None:
    with closing(ImageStoreProvider(connection, Premises(place / "run", place / "staging"))) as provider:
        provider.validate_connection()
        assert [machine.id for machine in provider.list_machines()] == ["web.raw"]


def content(connection: dict[str, Any], place: Path) -> bytes:
    with closing(ImageStoreProvider(connection, Premises(place / "run", place / "staging"))) as provider:
        reading = provider.open_reading(TRANSFER, "web", {}, point="p", since=None, report=Notes())
        try:
            return read_all(reading.disks[0].uri)
        finally:
            provider.close_reading(TRANSFER, "web", keep=None)


@contextmanager
def page() -> Iterator[str]:
    """Serve one web page, whatever is asked for."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<html><body>It works!</body></html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its caller's
            return

    with HTTPServer(("127.0.0.1", 0), Page) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


def test_keys_that_the_store_does_not_know_are_refused(shelf: dict[str, Any], place: Path) -> None:
    for wrong in ({"access_key_id": "nobody"}, {"secret_access_key": "no-such-secret"}):
        with pytest.raises(NotAuthenticated, match="correct the endpoint's auth") as told:
            check({**shelf, "auth": {**shelf["auth"], **wrong}}, place)
        assert "bucket shelf" in told.value.message
        assert shelf["auth"]["secret_access_key"] not in told.value.message


def test_a_bucket_that_is_not_there_or_not_for_these_keys_is_told(
    shelf: dict[str, Any], place: Path, object_store: Containers
) -> None:
    with pytest.raises(NotFound, match=r"bucket nowhere of .*no such bucket"):
        check({**shelf, "bucket": "nowhere"}, place)
    buckets = object_store.buckets
    assert isinstance(buckets, Buckets)
    with buckets.reader() as keys, pytest.raises(NotAllowed, match="bucket shelf"):
        check({**shelf, "auth": keys}, place)


def test_an_address_where_no_s3_answers_is_told(shelf: dict[str, Any], place: Path, object_store: Containers) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        check({**shelf, "endpoint_url": "http://127.0.0.1:9"}, place)
    with pytest.raises(Unavailable, match="does not answer"):
        check({**shelf, "endpoint_url": "https://no-such-host.invalid"}, place)
    keystone = str(object_store.connection("shelf")["auth"]["auth_url"]).removesuffix("/v3")
    with pytest.raises((InvalidInput, NotFound), match="correct"):
        check({**shelf, "endpoint_url": keystone}, place)
    with page() as url, pytest.raises(InvalidInput, match="no S3"):
        check({**shelf, "endpoint_url": url}, place)


def test_a_wrong_region_is_put_right_by_what_the_store_says(shelf: dict[str, Any], place: Path) -> None:
    check({**shelf, "region_name": "elsewhere"}, place)
    assert content({**shelf, "region_name": "elsewhere"}, place) == content_of(4)


def test_tls_is_demanded_beyond_loopback_and_the_certificate_is_checked(shelf: dict[str, Any], place: Path) -> None:
    with pytest.raises(InvalidInput, match="without TLS"):
        check({**shelf, "endpoint_url": "http://s3.example.org"}, place)
    made = certificates(place / "pki")
    with front_of(shelf["endpoint_url"], certificates=made) as url:
        with pytest.raises(Unavailable, match="certificate is not trusted"):
            check({**shelf, "endpoint_url": url}, place)
        trusting = {**shelf, "endpoint_url": url, "ca": (made / "ca-cert.pem").read_text()}
        check(trusting, place)
        assert content(trusting, place) == content_of(4)


def test_an_answer_that_is_cut_short_leaves_nothing(shelf: dict[str, Any], place: Path) -> None:
    with (
        front_of(shelf["endpoint_url"], answers_end_at=1 << 20) as url,
        pytest.raises(Unavailable, match=r"object web.raw in bucket shelf .*connection broke"),
    ):
        content({**shelf, "endpoint_url": url}, place)
    assert staged(place / "staging") == []


def test_the_bucket_may_stand_before_the_hosts_name(
    shelf: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, asked = socket.getaddrinfo, []

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        asked.append(host)
        return real("localhost" if str(host).endswith(".localhost") else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    url = shelf["endpoint_url"].replace("127.0.0.1", "localhost")
    check({**shelf, "endpoint_url": url, "addressing_style": "virtual"}, place)
    assert "shelf.localhost" in asked


def test_nothing_of_the_worker_is_used(shelf: dict[str, Any], place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = place / "config"
    config.write_text(
        "[default]\nendpoint_url = http://127.0.0.1:9\nregion = moon\nca_bundle = /none\n"
        "[profile other]\naws_access_key_id = other\naws_secret_access_key = other\n"
    )
    for name, value in {
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SECRET_ACCESS_KEY": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_PROFILE": "other",
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(config),
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_CA_BUNDLE": "/none",
        "AWS_MAX_ATTEMPTS": "none",
        "AWS_DATA_PATH": "/none",
    }.items():
        monkeypatch.setenv(name, value)
    check(shelf, place)
    assert content(shelf, place) == content_of(4)


def test_a_store_of_this_machine_is_its_operators(shelf: dict[str, Any]) -> None:
    assert ImageStoreProvider.is_local(shelf)
    assert not ImageStoreProvider.is_local({**shelf, "endpoint_url": "https://s3.example.org"})
    assert not ImageStoreProvider.is_local({key: value for key, value in shelf.items() if key != "endpoint_url"})
