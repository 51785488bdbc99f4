"""The commands about clouds and transfers, against the run's control plane and one real libvirt cloud."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.clouds import LibvirtCloud
from lab.control_plane import ISTHMUS
from lab.looking_around import look_ahead
from lab.tiny_guest import domain_xml

SIZE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, parsed."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Run = Callable[..., Answer]


@pytest.fixture
def run(environment_of: Callable[[str], dict[str, str]]) -> Run:
    environment = environment_of("demo")

    def run(*words: str, stdin: str = "") -> Answer:
        done = subprocess.run(
            [ISTHMUS, *words], env=environment, input=stdin, capture_output=True, text=True, timeout=120, check=False
        )
        return Answer(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="module")
def cloud() -> Iterator[LibvirtCloud]:
    """A cloud with one machine that is off: nothing here needs it to run."""
    with tempfile.TemporaryDirectory(prefix="cli-") as directory, LibvirtCloud("c", Path(directory) / "c") as cloud:
        disk = cloud.pool_directory / "web1.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), str(SIZE_BYTES)], check=True)
        connection = cloud.connect()
        connection.storagePoolLookupByName("default").refresh()
        connection.defineXML(domain_xml("web1", [disk], "qcow2", mac_address="52:54:00:01:02:03"))
        connection.close()
        yield cloud


@pytest.fixture
def endpoint(run: Run, cloud: LibvirtCloud) -> Iterator[Callable[[str], str]]:
    made: list[str] = []

    def create(name: str) -> str:
        options = ("--provider", "libvirt", "--name", name, "--connection", "-", "--format", "json")
        made.append(run("endpoint", "create", *options, stdin=json.dumps(cloud.connection)).json["id"])
        return made[-1]

    yield create
    for endpoint_id in made:
        assert run("endpoint", "delete", endpoint_id).code == 0


def test_a_cloud_is_registered_asked_and_forgotten(run: Run, endpoint: Callable[[str], str]) -> None:
    endpoint_id = endpoint("asked")
    assert run("endpoint", "validate", "asked").out == "endpoint 'asked' answers and lets us in\n"
    shown = run("endpoint", "show", "asked", "-f", "json").json
    assert shown["id"] == endpoint_id
    assert "/v1/secrets/" in shown["connection_secret"]
    machines = run("instance", "list", "--endpoint", "asked", "-f", "json").json
    assert [machine["Name"] for machine in machines] == ["web1"]
    assert run("instance", "list", "--endpoint", "asked", "--name", "^nothing", "-f", "json").json == []
    machine = run("instance", "show", "web1", "--endpoint", "asked", "-f", "json").json
    assert machine["disks"].startswith("vda: 0.06 GiB qcow2 on ")
    assert machine["nics"] == "52:54:00:01:02:03 on default"
    networks = run("endpoint", "network", "list", "--endpoint", "asked", "-f", "json").json
    assert networks == [{"ID": "default", "Name": "default"}]
    storage = run("endpoint", "storage", "list", "--endpoint", endpoint_id, "-f", "json").json
    assert storage[0]["Name"] == "default"
    assert storage[0]["Free"].endswith(" GiB")
    options = run("endpoint", "option", "list", "--endpoint", "asked", "-f", "json").json
    assert "disk_bus" in {option["Option"] for option in options}
    options = run("endpoint", "option", "list", "--endpoint", "asked", "--as", "source", "-f", "json").json
    assert "shutdown_timeout" in {option["Option"] for option in options}


def test_providers_and_their_schemas(run: Run) -> None:
    listed = run("provider", "list", "-f", "json").json
    assert {"libvirt"} <= {row["Provider"] for row in listed if row["Source"] == row["Destination"] == "yes"}
    for kind, key in (("connection", "uri"), ("source", "shutdown_timeout"), ("destination", "boot_probe")):
        assert key in run("provider", "schema", "show", "libvirt", "--kind", kind).json["properties"]


def test_an_endpoint_is_changed(run: Run, endpoint: Callable[[str], str]) -> None:
    endpoint_id = endpoint("old")
    assert (
        run("endpoint", "update", endpoint_id, "--name", "new", "--description", "d", "-f", "json").json["name"]
        == "new"
    )
    assert run("endpoint", "show", "old").code == 1
    assert "nothing to change" in run("endpoint", "update", "new").err


def test_a_name_of_two_endpoints_is_refused_with_their_ids(run: Run, endpoint: Callable[[str], str]) -> None:
    ids = {endpoint("twin"), endpoint("twin")}
    answer = run("endpoint", "show", "twin")
    assert answer.code == 1
    assert all(endpoint_id in answer.err for endpoint_id in ids)


def test_a_cloud_that_does_not_answer_is_registered_but_an_error(run: Run) -> None:
    connection = "uri=qemu+tcp://127.0.0.1:1/system"
    answer = run("endpoint", "create", "--provider", "libvirt", "--name", "away", "--connection", connection)
    assert answer.code == 1
    assert "isthmus endpoint update" in answer.err
    assert run("endpoint", "validate", "away").code == 1
    assert run("endpoint", "delete", "away").code == 0


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--provider", "nimbus", "--name", "x", "--connection", "a=1"), "there is no provider 'nimbus'"),
        (("--provider", "libvirt", "--name", "x", "--connection", "a=1"), "'uri' is a required property"),
    ],
)
def test_bad_input_is_one_clear_line(run: Run, words: tuple[str, ...], complaint: str) -> None:
    answer = run("endpoint", "create", *words)
    assert answer.code == 1
    assert complaint in answer.err
    assert answer.err.count("\n") == 1


def test_a_transfer_is_made_and_a_failed_execution_tells_why(run: Run, endpoint: Callable[[str], str]) -> None:
    origin = endpoint("from")
    # The same machine under another address: the API refuses equal clouds, and this one is away.
    away = run(
        *("endpoint", "create", "--provider", "libvirt", "--name", "away", "--skip-validation", "-f", "json"),
        *("--connection", "uri=qemu+tcp://127.0.0.1:1/system"),
    ).json["id"]
    created = run(
        *("transfer", "create", "no-such-machine", "--from", origin, "--to", "away", "-f", "json"),
        *("--network", "default=lan", "--default-storage", "pool", "--boot-probe", "tcp:22", "--boot-timeout", "9"),
    ).json
    assert created["network_map"] == {"default": "lan"}
    assert created["destination_environment"]["boot_probe"] == {"type": "tcp", "port": 22, "timeout_seconds": 9}
    transfer = created["id"]
    assert transfer in run("transfer", "list").out
    execution = run("execution", "create", transfer, "-f", "json").json["id"]
    watched = run("execution", "watch", transfer, execution)
    assert watched.code == 1
    assert "no-such-machine" in watched.err.splitlines()[-1]
    assert f"execution {execution} of transfer {transfer} ended ERROR" in watched.err
    assert "ERROR" in run("execution", "show", transfer, execution).out
    assert run("execution", "list", transfer, "-f", "json").json[0]["Status"] == "ERROR"
    assert run("deployment", "create", transfer).code == 1
    assert run("execution", "cancel", transfer, execution).code == 1
    assert run("execution", "delete", transfer, execution).code == 0
    assert run("transfer", "delete", transfer).code == 0
    assert run("transfer", "show", transfer).code == 1
    assert run("endpoint", "delete", away).code == 0


@pytest.fixture(scope="module")
def other_cloud() -> Iterator[LibvirtCloud]:
    with tempfile.TemporaryDirectory(prefix="cli-") as directory, LibvirtCloud("d", Path(directory) / "d") as cloud:
        yield cloud


def test_a_migration_is_looked_at_before_it_is_begun(
    run: Run,
    environment_of: Callable[[str], dict[str, str]],
    endpoint: Callable[[str], str],
    other_cloud: LibvirtCloud,
) -> None:
    endpoint("here")
    options = ("--provider", "libvirt", "--name", "there", "--connection", "-", "--format", "json")
    assert run("endpoint", "create", *options, stdin=json.dumps(other_cloud.connection)).code == 0
    ends = ("--from", "here", "--to", "there")
    before = [run(kind, "list", "-f", "json").json for kind in ("assessment", "transfer")]
    assessed = run("assessment", "create", *ends, "--network", "default=default", "-f", "json").json
    assert (assessed["status"], assessed["progress"]) == ("COMPLETED", "1 of 1")
    assert assessed["machines"] == {"assessed": 1, "critical": 0, "warning": 0, "information": 1, "clear": 0}
    assert assessed["longest_down_time"].startswith("2 min")
    (machine,) = run("assessment", "machine", "list", assessed["id"], "-f", "json").json
    assert machine["Machine"] == "web1"
    assert {line.split(":")[0] for line in machine["Concerns"].splitlines()} == {
        "information POWERED_OFF",
        "information OS_UNKNOWN",
    }
    assert assessed["id"] in run("assessment", "list").out
    assert "COMPLETED" in run("assessment", "show", assessed["id"]).out
    assert run("assessment", "delete", assessed["id"]).code == 0

    dry = run("migrate", "web1", *ends, "--default-network", "default", "--dry-run", "-f", "json").json
    assert "REPLICATE_DISKS" in dry["pass (2 times)"]
    assert "SHUTDOWN_INSTANCE" in dry["last pass"]
    assert "VERIFY_INSTANCE_BOOT" in dry["deployment"]
    said: list[str] = []
    look_ahead(environment_of("demo"), said.append, machine="web1", source="here", destination="there")
    assert said[0].startswith("assessment: 0.2 MiB to move")
    assert any(line.startswith("plan: deployment: ") for line in said)
    assert said[-1].startswith("plan:   ")
    assert "VERIFY_INSTANCE_BOOT" in " ".join(said)
    refused = run("migrate", "web1", *ends, "--dry-run")
    assert refused.code == 1
    assert "no destination network for 'default'" in refused.err
    assert [run(kind, "list", "-f", "json").json for kind in ("assessment", "transfer")] == before

    words = ("transfer", "create", "web1", *ends, "--network", "default=default", "-f", "json")
    transfer = run(*words).json["id"]
    planned = run("transfer", "plan", transfer, "-f", "json").json
    execution = run("execution", "create", transfer, "-f", "json").json["id"]
    assert run("execution", "watch", transfer, execution).code == 0
    steps = run("execution", "show", transfer, execution, "-f", "json").json["steps"]
    # The very plan: also the steps that only a failure would have needed.
    assert [line.split()[1] for line in steps.splitlines()] == [line["Step"] for line in planned]
    deletion = run("transfer", "disks", "delete", transfer, "-f", "json").json["execution"]
    assert run("execution", "watch", transfer, deletion).code == 0
    assert run("transfer", "delete", transfer).code == 0
    assert run("endpoint", "delete", "there").code == 0
