"""Stopping and starting machines."""

import time
from typing import Any

from isthmus.control.errors import StepFailed
from isthmus.migration.machine import PowerState
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.openstack import inventory
from isthmus.migration.providers.openstack.connection import Cloud, settled, wait_until
from isthmus.migration.providers.openstack.faults import translated
from isthmus.migration.reporting import Level, Report

_DEFAULT_SECONDS = 300
_NOVAS_SECONDS = 900


def shut_down(cloud: Cloud, instance: str, environment: Environment, report: Report) -> bool:
    """Have Nova press the power button and wait (see the contract).

    Nova itself cuts the power when its own time (`shutdown_timeout`, or the image's `os_shutdown_timeout`) is over.
    """
    server = inventory.find_server(cloud, instance)
    if server.status == "SHUTOFF":
        return False
    limit = int(environment.get("shutdown_timeout") or _DEFAULT_SECONDS)
    with translated(f"machine {server.name}"):
        if server.status == "PAUSED":
            cloud.compute.unpause_server(server)
            wait_until(lambda: _is(cloud, server, "ACTIVE"), f"machine {server.name}", report)
        if not getattr(server, "task_state", None):
            cloud.compute.stop_server(server)
    report.event(Level.INFO, f"machine {server.name} is asked to stop")
    # With force_shutdown Nova's own limit, after which it cuts the power, is waited for as well.
    deadline = time.monotonic() + limit + (_NOVAS_SECONDS if environment.get("force_shutdown") else 0)
    while _is(cloud, server, "SHUTOFF") is not None:
        report.check()
        if time.monotonic() > deadline:
            raise StepFailed(
                f"machine {server.name} did not stop within {limit} s; stop it yourself, or allow force_shutdown"
            )
        time.sleep(0.5)
    return True


def start(cloud: Cloud, instance: str) -> None:
    """Start the machine. Already done: it runs."""
    server = inventory.find_server(cloud, instance)
    if inventory.POWER.get(server.status) is PowerState.RUNNING:
        return
    what = f"machine {server.name}"
    with translated(what):
        if server.status == "PAUSED":
            cloud.compute.unpause_server(server)
        elif not getattr(server, "task_state", None):
            cloud.compute.start_server(server)
    wait_until(lambda: _is(cloud, server, "ACTIVE"), f"start of {what}")


def _is(cloud: Cloud, server: Any, status: str) -> str | None:
    with translated(f"machine {server.name}"):
        return settled(cloud.compute.get_server(server.id), (status,), f"machine {server.name}")
