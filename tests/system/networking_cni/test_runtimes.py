"""Real runtimes: containerd by the CRI, as the kubelet calls it, and Podman."""

import contextlib
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab import network_image
from lab.attach_truth import Truth, until_quiet
from lab.cri_calls import CniCalls, agent_socket
from lab.cri_client import CriClient, RuntimeRefused, Sandbox
from lab.cri_podman import Podman
from lab.network_engines import Containerd
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground

ISTHMUS = Path(sys.executable).with_name("isthmus")


def install(playground: NetworkPlayground, network: str, plugins: Path, networks: Path, *words: str) -> None:
    socket = str(agent_socket(playground.state_dir))
    places = ("--bin-dir", str(plugins), "--conf-dir", str(networks), "--socket", socket)
    subprocess.run([ISTHMUS, "cni", "install", network, *places, *words], check=True, timeout=60)


@pytest.fixture
def containerd(network_playground: NetworkPlayground, network: Any) -> Iterator[Containerd]:
    engine = network_playground.containerd()
    install(network_playground, network.name, engine.cni_plugins, engine.cni_configurations)
    yield engine
    for each in engine.cni_configurations.iterdir():
        each.unlink()


@pytest.fixture
def cri(containerd: Containerd) -> Iterator[CriClient]:
    with CriClient(containerd.socket) as client:
        wait_for("the runtime's network is ready", lambda: not client.network_problem())
        yield client
        for sandbox in client.sandboxes():
            client.stop_sandbox(sandbox)
            client.remove_sandbox(sandbox)


def process_of(containerd: Containerd, sandbox: Sandbox) -> str:
    """Return the id, on the host, of the process that a sandbox consists of."""
    lines = [line.split() for line in containerd.ctr("tasks", "ls").splitlines()]
    return next(words[1] for words in lines if words[0] == sandbox.id)


def name() -> str:
    return f"pod-{uuid.uuid4().hex[:8]}"


def test_sandboxes_are_on_the_network_and_leave_it(
    network_playground: NetworkPlayground,
    containerd: Containerd,
    cri: CriClient,
    demo: Any,
    truth: Callable[[], Truth],
) -> None:
    first, second = cri.run_sandbox(name()), cri.run_sandbox(name())
    (address,) = cri.addresses(second.id)

    (port,) = demo.ports(fixed_ips=f"ip_address={address}")
    wait_for("the port is named for its pod", lambda: demo.get_port(port.id).name.startswith("default/pod-"))
    inside = ("nsenter", "--net", "--target", process_of(containerd, first))
    wait_for("a ping", lambda: network_playground.host.succeeds(*inside, "ping", "-c1", "-W1", address))

    for sandbox in (first, second):
        cri.stop_sandbox(sandbox.id)
        cri.stop_sandbox(sandbox.id)
        cri.remove_sandbox(sandbox.id)
    until_quiet(truth)


def test_a_sandbox_that_cannot_be_attached_says_why_and_leaves_nothing(
    containerd: Containerd, cri: CriClient, truth: Callable[[], Truth]
) -> None:
    (written,) = containerd.cni_configurations.iterdir()
    written.write_text(written.read_text().replace('"agentSocket"', '"network": "no-such-network", "agentSocket"'))

    def error() -> str:
        with pytest.raises(RuntimeRefused) as caught:
            cri.run_sandbox(name())
        return str(caught.value)

    # containerd looks at its directory when the kernel tells of a change.
    found = ""
    with contextlib.suppress(TimeoutError):
        wait_for("the new configuration", lambda: "no-such-network" in error(), 20)
    found = error()

    assert "no-such-network" in found
    assert "invalid network configuration" in found
    until_quiet(truth)


def test_sandboxes_that_a_killed_runtime_leaked_are_collected(
    network_playground: NetworkPlayground,
    containerd: Containerd,
    cri: CriClient,
    network: Any,
    truth: Callable[[], Truth],
) -> None:
    leaked = [cri.run_sandbox(name()) for _ in range(2)]
    kept = cri.run_sandbox(name())
    assert len(truth().attached) == 3
    # The runtime forgets two: nobody will ever send their DEL. Their processes die as with a host that lost power.
    for sandbox in leaked:
        network_playground.host.run("kill", "-KILL", process_of(containerd, sandbox))
    caller = CniCalls(network_playground.host, agent_socket(network_playground.state_dir), network.name)

    caller.collect_garbage([(kept.id, "eth0")])

    wait_for("one is attached", lambda: len(truth().attached) == 1 and not truth().disagreements())
    assert cri.addresses(kept.id)


@pytest.fixture(scope="module")
def podman(network_playground: NetworkPlayground) -> Podman:
    made = Podman(network_playground.host, network_playground.directory / "podman")
    made.load()
    return made


def test_podman_runs_containers_with_addresses_of_neutron(
    network_playground: NetworkPlayground, podman: Podman, network: Any, truth: Callable[[], Truth]
) -> None:
    install(network_playground, network.name, podman.plugins, podman.networks)

    said = podman.run("--network", network.name, network_image.NAME, "/bin/ip", "addr")
    demanded = podman.run(
        *("--network", network.name, "--ip", "10.61.0.88", "--mac-address", "fa:16:3e:bb:00:01"),
        *(network_image.NAME, "/bin/ip", "addr"),
    )

    assert "inet 10.61.0." in said
    assert "inet 10.61.0.88/24" in demanded
    assert "fa:16:3e:bb:00:01" in demanded
    with pytest.raises(RuntimeError, match=r"10\.99\.0\.1"):
        podman.run("--network", network.name, "--ip", "10.99.0.1", network_image.NAME, "/bin/true")
    until_quiet(truth)
