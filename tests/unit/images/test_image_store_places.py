"""Whose the directories are in which an image store's machines are staged."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from isthmus.control.errors import Unavailable
from isthmus.migration.providers.image_store.provider import ImageStoreProvider
from isthmus.migration.providers.premises import Premises

AUTH = {"auth_url": "http://127.0.0.1:1/v3", "project_name": "p", "username": "u", "password": "x"}
CONNECTION: dict[str, Any] = {"kind": "swift", "container": "shelf", "auth": AUTH}


def places(tmp_path: Path, *connections: dict[str, Any]) -> list[Path]:
    for connection in connections:
        with closing(ImageStoreProvider(connection, Premises(tmp_path / "run", tmp_path / "staging"))):
            pass
    return list((tmp_path / "staging").glob("store-*"))


@pytest.mark.parametrize("key", ["project_domain_name", "project_domain_id", "user_domain_name", "user_domain_id"])
def test_projects_and_users_of_one_name_in_two_domains_share_no_directory(tmp_path: Path, key: str) -> None:
    others = [{**CONNECTION, "auth": {**AUTH, key: domain}} for domain in ("one", "two")]
    assert len(places(tmp_path, CONNECTION, *others)) == 3


def test_containers_of_one_name_in_two_regions_share_no_directory(tmp_path: Path) -> None:
    others = [{**CONNECTION, "region_name": region} for region in ("one", "two")]
    assert len(places(tmp_path, CONNECTION, *others)) == 3


def test_one_place_has_one_directory_whatever_the_password(tmp_path: Path) -> None:
    assert len(places(tmp_path, CONNECTION, {**CONNECTION, "auth": {**AUTH, "password": "y"}})) == 1


def test_what_is_staged_is_not_read_for_somebody_whom_keystone_has_not_let_in(tmp_path: Path) -> None:
    (root,) = places(tmp_path, CONNECTION)
    (root / "web").mkdir()
    (root / "web" / "web.ovf").write_text("<Envelope/>")
    mark = {"deployment": "d", "machine": "web", "volumes": {}}
    (root / "web" / ".isthmus.json").write_text(json.dumps(mark))
    with (
        closing(ImageStoreProvider(CONNECTION, Premises(tmp_path / "run", tmp_path / "staging"))) as provider,
        pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"),
    ):
        provider.get_machine("web/web.ovf")
