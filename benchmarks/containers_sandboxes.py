"""Sandboxes a second through CNI: containerd's CRI with Isthmus's plug-in and with the reference plug-in `bridge`.

The two take turns; each turn makes a batch of sandboxes, some at once, and removes them. What a sandbox costs beside
its network (the pause container, runc) is in both, so the ratio says what the network costs a host that starts many.
"""

import json
import statistics
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from lab.cri_calls import agent_socket
from lab.cri_client import CriClient, Sandbox
from lab.network_engines import Containerd
from lab.network_host import wait_for
from lab.network_playground import NetworkPlayground

from isthmus.networking.cni.installing import install_executable, install_network

BATCH, AT_ONCE = 8, 4
RANGE = "10.83.0.0/24"
_BRIDGE = {
    "cniVersion": "1.0.0",
    "name": "bench-bridge",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "bench-br0",
            "isGateway": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.84.0.0/24"}]]},
        }
    ],
}


def measure(playground: NetworkPlayground, rounds: int) -> dict[str, Any]:
    """Return sandboxes a second, made and removed, of each plug-in (medians of the rounds), and their ratio."""
    neutron = playground.cloud("demo").network
    network = neutron.create_network(name=f"bench-cni-{uuid.uuid4().hex[:6]}")
    neutron.create_subnet(network_id=network.id, cidr=RANGE, ip_version=4)
    # As many warm ports as a batch has, and a Neutron that may be slow: a busy machine's is.
    options = f"call_timeout = 30\nattach_timeout = 35\nwarm_ports = {BATCH}\n"
    playground.restart_agent(playground.agent_options + options)
    engine = playground.containerd()
    install_executable(engine.cni_plugins)
    socket = agent_socket(playground.state_dir)
    ways: dict[str, Callable[[], object]] = {
        "isthmus": lambda: install_network(engine.cni_configurations, network.name, socket, {}),
        "bridge": lambda: (engine.cni_configurations / "10-bench-bridge.conflist").write_text(json.dumps(_BRIDGE)),
    }
    rates: dict[str, dict[str, list[float]]] = {name: {"made": [], "removed": []} for name in ways}
    for number in range(rounds + 1):
        for name, configure in ways.items():
            made, removed = _turn(engine, configure)
            if number:  # the first turn warms up: images, ports, caches
                rates[name]["made"].append(made)
                rates[name]["removed"].append(removed)
    medians = {
        name: {what: round(statistics.median(found), 2) for what, found in of.items()} for name, of in rates.items()
    }
    return {
        "batch": BATCH,
        "at once": AT_ONCE,
        "a second, median": medians,
        "isthmus over bridge": {
            what: round(medians["isthmus"][what] / medians["bridge"][what], 2) for what in ("made", "removed")
        },
    }


def _turn(engine: Containerd, configure: Callable[[], object]) -> tuple[float, float]:
    """Return how many sandboxes a second were made, and removed, in one batch."""
    for each in engine.cni_configurations.iterdir():
        each.unlink()
    configure()
    with CriClient(engine.socket) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        wait_for("the runtime's network is ready", lambda: not client.network_problem())
        names = [f"bench-{uuid.uuid4().hex[:8]}" for _ in range(BATCH)]
        begun = time.monotonic()
        sandboxes = list(pool.map(client.run_sandbox, names))
        made = BATCH / (time.monotonic() - begun)

        def remove(sandbox: Sandbox) -> None:
            client.stop_sandbox(sandbox.id)
            client.remove_sandbox(sandbox.id)

        begun = time.monotonic()
        list(pool.map(remove, sandboxes))
        return made, BATCH / (time.monotonic() - begun)
