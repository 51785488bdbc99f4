import argparse
import io
from pathlib import Path

import pytest

from isthmus.cli import inputs
from isthmus.cli.transfers import environment_of, mapping_options, probe_options
from isthmus.control.errors import InvalidInput


def test_pairs_become_an_object_with_inner_objects_and_json_values() -> None:
    assert inputs.document("--x", ["a=text", "b.c=4", "b.d=[1]", "e=true"]) == {
        "a": "text",
        "b": {"c": 4, "d": [1]},
        "e": True,
    }


def test_files_inline_json_and_standard_input_are_merged_and_later_ones_win(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "connection.yaml"
    file.write_text("uri: qemu:///system\nfrom: file\n")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"from": "stdin"}'))
    found = inputs.document("--x", [str(file), '{"n": 1}', "-"])
    assert found == {"uri": "qemu:///system", "from": "stdin", "n": 1}


@pytest.mark.parametrize("value", ["nonsense", "=x", "[1]"])
def test_what_is_no_object_is_refused_by_name(value: str) -> None:
    with pytest.raises(InvalidInput, match="--connection"):
        inputs.document("--connection", [value])


def test_a_broken_file_is_refused_without_showing_its_content(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"password": "s3cret", oops')
    with pytest.raises(InvalidInput) as refused:
        inputs.document("--connection", [str(file)])
    assert "s3cret" not in refused.value.message
    assert "line 1" in refused.value.message


def test_storage_names_back_ends_disks_and_a_default() -> None:
    assert inputs.storage_mappings(["fast=ssd", "disk:vdb=slow"], "pool") == {
        "backend_mappings": [{"source": "fast", "destination": "ssd"}],
        "disk_mappings": [{"disk_id": "vdb", "destination": "slow"}],
        "default": "pool",
    }


@pytest.mark.parametrize("pair", ["lan", "=lan", "lan="])
def test_a_network_pair_needs_both_sides(pair: str) -> None:
    with pytest.raises(InvalidInput, match="--network"):
        inputs.network_map([pair])


@pytest.mark.parametrize(
    ("text", "probe"),
    [
        ("console:login: $", {"type": "console", "marker": "login: $"}),
        ("agent", {"type": "guest_agent"}),
        ("tcp:22", {"type": "tcp", "port": 22}),
        ("none", {"type": "none"}),
    ],
)
def test_each_form_of_probe(text: str, probe: dict[str, object]) -> None:
    assert inputs.boot_probe(text, None) == probe
    assert inputs.boot_probe(text, 30) == probe | {"timeout_seconds": 30}


@pytest.mark.parametrize("text", ["", "console", "console:(", "tcp:x", "tcp:0", "tcp:70000", "ping"])
def test_a_probe_of_no_known_form_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--boot-probe"):
        inputs.boot_probe(text, None)


def test_scripts_are_read_from_files(tmp_path: Path) -> None:
    file = tmp_path / "first.sh"
    file.write_text("#!/bin/sh\n")
    assert inputs.user_scripts([f"first-boot={file}"]) == {
        "global": {"linux": [{"phase": "replica_first_boot", "payload": "#!/bin/sh\n"}]}
    }
    assert inputs.user_scripts([]) is None
    with pytest.raises(InvalidInput, match="PHASE one of first-boot"):
        inputs.user_scripts([f"sometime={file}"])


def test_the_secret_of_luks_volumes_is_part_of_the_destination_environment() -> None:
    parser = argparse.ArgumentParser()
    mapping_options(parser, required=False)
    probe_options(parser)
    given = ["--destination-environment", "disk_bus=scsi", "--luks-secret", "https://keys.example/v1/secrets/1"]
    wanted = {"disk_bus": "scsi", "luks_secret_ref": "https://keys.example/v1/secrets/1"}
    assert environment_of(parser.parse_args(given)) == wanted
    assert environment_of(parser.parse_args([])) == {}
