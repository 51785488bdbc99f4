"""Stopping and starting a source machine."""

import time
from typing import Any

import libvirt

from isthmus.control.errors import StepFailed
from isthmus.migration.machine import PowerState
from isthmus.migration.providers.contract import Environment
from isthmus.migration.providers.libvirt import waking
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.faults import is_gone, translated
from isthmus.migration.providers.libvirt.guest_facts import agent_connected
from isthmus.migration.providers.libvirt.inventory import domain_tree, find_domain, power_state
from isthmus.migration.reporting import Level, Report

ASK_AGAIN_SECONDS = 10
"""A guest that is still booting loses the power button's event: it is pressed again."""


def shut_down(hypervisor: Hypervisor, instance: str, environment: Environment, report: Report) -> bool:
    """Ask the guest to stop until it has (see the contract)."""
    domain = find_domain(hypervisor, instance)
    seconds = int(environment.get("shutdown_timeout", 300))
    with translated(f"machine {instance}"):
        if not domain.isActive() or waking.woken_by(domain) is not None:
            return False
        if power_state(domain) is PowerState.PAUSED and not environment.get("force_shutdown"):
            raise StepFailed(
                f"machine {instance} is paused and can not shut down; resume it or stop it, then try again"
            )
        _stay_off(domain)
        if _wait_until_off(domain, seconds, report):
            return True
        if not environment.get("force_shutdown"):
            raise StepFailed(
                f"machine {instance} did not shut down within {seconds} s; shut it down yourself, raise "
                "shutdown_timeout, or set force_shutdown to cut its power"
            )
        report.event(Level.WARNING, f"machine {instance} did not shut down within {seconds} s: its power is cut")
        domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_GRACEFUL)
        return True


def start(hypervisor: Hypervisor, instance: str) -> None:
    """Start the machine. Already done: it runs. One that is awake for reading only is stopped first."""
    domain = find_domain(hypervisor, instance)
    with translated(f"machine {instance}"):
        if waking.woken_by(domain) is not None:
            waking.put_back(domain)
        if domain.isActive():
            return
        try:
            domain.create()
        except libvirt.libvirtError:
            if not domain.isActive():  # else somebody was faster
                raise


def _stay_off(domain: Any) -> None:
    """Make a power-off final, for this run only, where the definition would start the machine again."""
    if domain_tree(domain).findtext("on_poweroff", "destroy") == "restart":
        domain.setLifecycleAction(
            libvirt.VIR_DOMAIN_LIFECYCLE_POWEROFF,
            libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY,
            libvirt.VIR_DOMAIN_AFFECT_LIVE,
        )


def _wait_until_off(domain: Any, seconds: int, report: Report) -> bool:
    started = time.monotonic()
    ask_at = started
    while is_active(domain):
        report.check()
        now = time.monotonic()
        if now - started > seconds:
            return False
        if now >= ask_at:
            _ask(domain)
            ask_at = now + ASK_AGAIN_SECONDS
        time.sleep(0.2)
    return True


def is_active(domain: Any) -> bool:
    """Tell whether the domain has a QEMU; a transient one that is gone has none."""
    try:
        return bool(domain.isActive())
    except libvirt.libvirtError as error:
        if is_gone(error):
            return False
        raise


def _ask(domain: Any) -> None:
    """Ask by the agent where there is one, else by the power button."""
    ways = [libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN]
    try:
        if agent_connected(domain_tree(domain)):
            ways.insert(0, libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT)
        for way in ways:
            try:
                domain.shutdownFlags(way)
            except libvirt.libvirtError:
                if way is ways[-1]:
                    raise
            else:
                return
    except libvirt.libvirtError:
        if is_active(domain):  # else it went off just now, which is what was wanted
            raise
