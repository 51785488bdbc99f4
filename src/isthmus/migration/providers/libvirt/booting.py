"""Starting a deployed machine and watching whether it comes to life.

What a guest says on its console is hostile input: lines are cut, control sequences dropped, and only the last kept.
"""

import re
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import libvirt
import libvirt_qemu

from isthmus.migration import patterns
from isthmus.migration.machine import BootProbe, DeployedMachine, ProbeResult, ProbeType
from isthmus.migration.providers.console_text import LINE_CHARACTERS, TAIL_LINES, plain_line
from isthmus.migration.providers.libvirt import neutron_nics
from isthmus.migration.providers.libvirt.connection import Hypervisor
from isthmus.migration.providers.libvirt.faults import is_gone, translated
from isthmus.migration.providers.libvirt.inventory import addresses_by_mac, domain_tree, find_domain
from isthmus.migration.providers.libvirt.power import is_active
from isthmus.migration.reporting import Level, Progress, Report

_POLL_SECONDS = 0.2
_AGENT_SECONDS = 5


class Console:
    """A machine's serial console as bounded lines of plain text."""

    def __init__(self, hypervisor: Hypervisor, domain: Any) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._line = ""
        self._stream = hypervisor.connection.newStream(libvirt.VIR_STREAM_NONBLOCK)
        self._open = False
        # FORCE: a console that somebody left open must not hide a machine from its probe.
        domain.openConsole(None, self._stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        self._open = True

    def read(self) -> list[str]:
        """Return the lines that have come since the last call, the unfinished one (a prompt) last; never waits."""
        lines: list[str] = []
        for _ in range(64):
            if not self._open:
                break
            try:
                received = self._stream.recv(4096)
            except libvirt.libvirtError:
                self._open = False  # the machine is gone; its state tells the rest
                break
            if received == -2:
                break
            if not received:
                self._open = False
                break
            lines += self._take(received.decode("utf-8", errors="replace"))
        if self._line:
            lines.append(plain_line(self._line))
        return lines

    def lines(self) -> tuple[str, ...]:
        """Return the last lines, with the unfinished one."""
        return (*self.tail, plain_line(self._line)) if self._line else tuple(self.tail)

    def close(self) -> None:
        """Give the stream back."""
        try:
            self._stream.abort()
        except libvirt.libvirtError:
            self._open = False  # it ended by itself

    def _take(self, text: str) -> list[str]:
        *finished, rest = re.split(r"[\r\n]+", self._line + text)
        self._line = rest[-4 * LINE_CHARACTERS :]
        plain = [line for line in map(plain_line, finished) if line]
        self.tail.extend(plain)
        return plain


def boot_machine(
    hypervisor: Hypervisor,
    deployed: DeployedMachine,
    probe: BootProbe,
    report: Report,
    *,
    connect: Callable[[Sequence[str]], None],
) -> ProbeResult:
    """Start the machine and watch it (see the contract); `connect` plugs its taps on Neutron ports before it runs."""
    marker = patterns.marker(probe.marker)
    domain = find_domain(hypervisor, deployed.id)
    with translated(f"machine {deployed.name} (starting it at the destination)"):
        console = _start(hypervisor, domain, probe, connect)
        try:
            return _watch(domain, console, probe, marker, report)
        finally:
            console.close()


def _start(hypervisor: Hypervisor, domain: Any, probe: BootProbe, connect: Callable[[Sequence[str]], None]) -> Console:
    """Start with the console open from the first instruction; reset a running machine whose lines are gone."""
    running = bool(domain.isActive()) and domain.state()[0] != libvirt.VIR_DOMAIN_PAUSED
    if not domain.isActive():
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    connect(_taps(domain))
    console = Console(hypervisor, domain)
    if not running:
        domain.resume()
    elif probe.type is ProbeType.CONSOLE:
        domain.reset(0)
    return console


def _taps(domain: Any) -> list[str]:
    targets = domain_tree(domain).findall("devices/interface[@type='ethernet']/target")
    return [tap for target in targets if neutron_nics.is_tap(tap := target.get("dev", ""))]


def _watch(domain: Any, console: Console, probe: BootProbe, marker: patterns.Pattern, report: Report) -> ProbeResult:
    started = time.monotonic()
    told_kernel, next_question = False, started
    while True:
        report.check()
        seconds = time.monotonic() - started
        lines = console.read()
        if not told_kernel and any("Linux version" in line for line in lines):
            told_kernel = True
            report.event(Level.INFO, f"machine {domain.name()}: its kernel started after {seconds:.0f} s")
        report.progress(Progress("boot", int(seconds), probe.timeout_seconds, "seconds"))
        saw = ""
        if probe.type is ProbeType.CONSOLE:
            saw = next((f"console: {line}" for line in lines if marker.is_in(line)), "")
        elif time.monotonic() >= next_question:
            saw = _question(domain, probe)
            next_question = time.monotonic() + 1
        if saw:
            return ProbeResult(True, saw, time.monotonic() - started, console.lines())
        if not _runs(domain):
            return ProbeResult(False, "the machine stopped by itself", seconds, console.lines())
        if seconds > probe.timeout_seconds:
            return ProbeResult(False, f"no {_wanted(probe)} in time", seconds, console.lines())
        time.sleep(_POLL_SECONDS)


def _runs(domain: Any) -> bool:
    return is_active(domain) and domain.state()[0] not in (libvirt.VIR_DOMAIN_CRASHED, libvirt.VIR_DOMAIN_SHUTOFF)


def _wanted(probe: BootProbe) -> str:
    return {
        ProbeType.CONSOLE: f"console line matching {probe.marker!r}",
        ProbeType.TCP: f"answer on TCP port {probe.port}",
        ProbeType.GUEST_AGENT: "answer from the guest agent",
        ProbeType.NONE: "sign of life",
    }[probe.type]


def _question(domain: Any, probe: BootProbe) -> str:
    """Ask once; return what was seen, or nothing."""
    if probe.type is ProbeType.GUEST_AGENT:
        return "guest agent: answered a ping" if _agent_answers(domain) else ""
    if probe.type is ProbeType.TCP:
        address = _answering(_addresses(domain, probe), probe.port)
        return f"tcp: {address} port {probe.port} answered" if address else ""
    return "nothing was asked for: the machine was started" if _runs(domain) else ""


def _agent_answers(domain: Any) -> bool:
    try:
        libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', _AGENT_SECONDS, 0)
    except libvirt.libvirtError:
        return False  # not up yet: asked again until the probe's time is over
    return True


def _addresses(domain: Any, probe: BootProbe) -> list[str]:
    if probe.address is not None:
        return [probe.address]
    try:
        found = addresses_by_mac(domain, domain_tree(domain))
    except libvirt.libvirtError as error:
        if is_gone(error):
            return []
        raise
    return [
        address for addresses in found.values() for address in addresses if not address.startswith(("127.", "fe80:"))
    ]


def _answering(addresses: list[str], port: int) -> str | None:
    for address in addresses:
        try:
            with socket.create_connection((address, port), timeout=2):
                return address
        except OSError:
            continue  # not up yet
    return None
