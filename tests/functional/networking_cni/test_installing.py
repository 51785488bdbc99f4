"""`isthmus cni install` writes what a runtime reads, whole or not at all."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from isthmus.control.errors import Conflict, InvalidInput
from isthmus.networking.cni import installing

ISTHMUS = Path(sys.executable).with_name("isthmus")


def test_the_command_installs_an_executable_that_runs_and_a_network(tmp_path: Path) -> None:
    plugins, networks = tmp_path / "bin", tmp_path / "net.d"
    words = ("--bin-dir", str(plugins), "--conf-dir", str(networks), "--socket", str(tmp_path / "s"))
    more = ("--neutron-network", "tenant-net", "--project", "acme", "--security-group", "web")

    subprocess.run([ISTHMUS, "cni", "install", "blue", *words, *more], check=True, timeout=60)

    (network,) = networks.iterdir()
    (plugin,) = plugins.iterdir()
    written = json.loads(network.read_text())
    assert network.name == "10-blue.conflist"
    assert written["plugins"][0] | {"capabilities": None} == {
        "type": plugin.name,
        "agentSocket": str(tmp_path / "s"),
        "network": "tenant-net",
        "project": "acme",
        "securityGroups": ["web"],
        "capabilities": None,
    }
    said = subprocess.run([plugin], env={"CNI_COMMAND": "VERSION"}, input=b"{}", capture_output=True, check=True)
    assert written["cniVersion"] in json.loads(said.stdout)["supportedVersions"]
    assert written["cniVersions"] == json.loads(said.stdout)["supportedVersions"]


def test_without_a_built_executable_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    made = installing.install_executable(tmp_path / "bin")

    assert subprocess.run([made], env={"CNI_COMMAND": "VERSION"}, input=b"", check=True, capture_output=True).stdout


def test_a_file_that_says_something_else_is_kept(tmp_path: Path) -> None:
    path = installing.install_network(tmp_path, "blue", tmp_path / "s", {})
    before = path.read_bytes()

    assert installing.install_network(tmp_path, "blue", tmp_path / "s", {}) == path
    with pytest.raises(Conflict, match=path.name):
        installing.install_network(tmp_path, "blue", tmp_path / "other", {})
    with pytest.raises(InvalidInput):
        installing.install_network(tmp_path, "../blue", tmp_path / "s", {})
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [before]
