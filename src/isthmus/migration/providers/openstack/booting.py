"""Making a deployed machine's server, which starts it, and watching whether it comes to life."""

import socket
import time
from typing import Any

from isthmus.control.errors import InvalidInput, NotFound, StepFailed
from isthmus.migration import patterns
from isthmus.migration.machine import BootProbe, DeployedMachine, ProbeResult, ProbeType
from isthmus.migration.providers.console_text import TAIL_LINES, plain_lines
from isthmus.migration.providers.openstack import names, servers
from isthmus.migration.providers.openstack.connection import Cloud
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.reporting import Progress, Report

_POLL_SECONDS = 1.0
_CONSOLE_LINES = 5000


def boot_machine(cloud: Cloud, deployed: DeployedMachine, probe: BootProbe, report: Report) -> ProbeResult:
    """Make the server and watch it (see the contract). Nova keeps the console from the first line on."""
    if probe.type is ProbeType.GUEST_AGENT:
        raise InvalidInput("Nova passes no ping to the guest agent; take the boot probe `console` or `tcp`")
    marker = patterns.marker(probe.marker)
    server = servers.find_deployed(cloud, deployed.details["deployment"], deployed.details["source"])
    if server is not None and server.status == "ERROR":
        # A try that failed before: nothing of the guest has run.
        servers.delete_server(cloud, server)
        server = None
    if server is None:
        server = _create(cloud, deployed)
    elif server.status == "SHUTOFF":
        with translated(f"machine {deployed.name}"):
            cloud.compute.start_server(server.id)
    seen = _watch(cloud, server.id, probe, marker, report)
    return ProbeResult(
        seen.passed,
        seen.saw,
        seen.seconds,
        seen.console_tail,
        DeployedMachine(server.id, deployed.name, deployed.details),
    )


def _create(cloud: Cloud, deployed: DeployedMachine) -> Any:
    facts = deployed.details
    volumes, ports = (facts[key].split(",") if facts[key] else [] for key in ("volumes", "ports"))
    mapping = [
        {
            "uuid": volume,
            "source_type": "volume",
            "destination_type": "volume",
            "boot_index": index if index == 0 else -1,
            "delete_on_termination": False,
            "disk_bus": bus,
        }
        for index, (volume, bus) in enumerate(zip(volumes, facts["buses"].split(","), strict=True))
    ]
    optional = {key: facts[key] for key in ("key_name", "availability_zone") if facts.get(key)}
    with translated(f"machine {deployed.name}"):
        return cloud.compute.create_server(
            name=deployed.name,
            flavor_id=facts["flavor"],
            block_device_mapping=mapping,
            networks=[{"port": port} for port in ports] or "none",
            metadata={names.DEPLOYMENT: facts["deployment"], names.MACHINE: facts["source"][:255]},
            **optional,
        )


def _watch(cloud: Cloud, server_id: str, probe: BootProbe, marker: patterns.Pattern, report: Report) -> ProbeResult:
    started = time.monotonic()
    tail: list[str] = []
    while True:
        report.check()
        seconds = time.monotonic() - started
        report.progress(Progress("boot", int(seconds), probe.timeout_seconds, "seconds"))
        with translated(f"machine {server_id}"):
            server = cloud.compute.get_server(server_id)
        if server.status == "ERROR":
            raise StepFailed(f"Nova could not make machine {server.name}: {_fault(server)}")
        saw = ""
        if server.status == "ACTIVE":
            lines = _console(cloud, server) if probe.type is ProbeType.CONSOLE else []
            tail = lines[-TAIL_LINES:]
            saw = _look(server, probe, marker, lines)
        if saw:
            return ProbeResult(True, saw, time.monotonic() - started, tuple(tail))
        if server.status == "SHUTOFF":
            return ProbeResult(False, "the machine stopped by itself", seconds, tuple(tail))
        if seconds > probe.timeout_seconds:
            return ProbeResult(
                False, f"no sign of life ({probe.type}) in time; status {server.status}", seconds, tuple(tail)
            )
        time.sleep(_POLL_SECONDS)


def _look(server: Any, probe: BootProbe, marker: patterns.Pattern, lines: list[str]) -> str:
    """Return what was seen, or nothing."""
    if probe.type is ProbeType.CONSOLE:
        return next((f"console: {line}" for line in lines if marker.is_in(line)), "")
    if probe.type is ProbeType.TCP:
        for address in [probe.address] if probe.address else _addresses(server):
            try:
                with socket.create_connection((address, probe.port), timeout=2):
                    return f"tcp: {address} port {probe.port} answered"
            except OSError:
                continue  # not up yet
        return ""
    return "nothing was asked for: the machine was started"


def _addresses(server: Any) -> list[str]:
    """Return the server's addresses, floating ones first: the others may not be reached from here."""
    found = [each for addresses in (server.addresses or {}).values() for each in addresses]
    floating = [each["addr"] for each in found if each.get("OS-EXT-IPS:type") == "floating"]
    return floating + [each["addr"] for each in found if each["addr"] not in floating]


def _console(cloud: Cloud, server: Any) -> list[str]:
    try:
        with translated(f"console of {server.name}"):
            said = cloud.compute.get_server_console_output(server, length=_CONSOLE_LINES)
    except NotFound:
        return []  # not there yet
    return plain_lines(str((said or {}).get("output") or ""))


def _fault(server: Any) -> str:
    fault = server.fault if isinstance(server.fault, dict) else {}
    return str(fault.get("message") or "it gives no reason")[:300]
