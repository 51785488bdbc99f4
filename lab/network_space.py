"""A network namespace for the calling thread, with namespaces beside it for containers: what binders are tested in."""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def private_space() -> Iterator[None]:
    """Have the calling thread, and all that it starts, in a network namespace of its own; then back where it was."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            run("ip", "link", "set", "lo", "up")
            yield
        finally:
            if _libc.setns(home, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(home)


@contextmanager
def container_space() -> Iterator[str]:
    """Give the name of a new namespace; it may be gone at the end."""
    name = f"isthmus-{uuid.uuid4().hex[:8]}"
    run("ip", "netns", "add", name)
    try:
        run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@contextmanager
def open_vswitch(bridge: str = "br-int", *, offload: bool = True) -> Iterator[str]:
    """Run Open vSwitch with the userspace datapath in the thread's namespace; give its database's address.

    Without `offload` it drops packets whose checksums are unfinished.
    """
    directory = Path(tempfile.mkdtemp(prefix="isthmus-ovs-"))
    database, socket = directory / "vs.db", directory / "db.sock"
    schema = "/usr/share/openvswitch/vswitch.ovsschema"
    run("ovsdb-tool", "create", str(database), schema)
    environment = os.environ | {f"OVS_{name}DIR": str(directory) for name in ("RUN", "DB", "LOG", "SYSCONF")}
    address = f"unix:{socket}"
    commands = (
        ["ovsdb-server", str(database), f"--remote=punix:{socket}", f"--unixctl={directory}/db.ctl"],
        ["ovs-vswitchd", address, f"--unixctl={directory}/vs.ctl"],
    )
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            with (directory / f"{command[0]}.log").open("wb") as log:
                running.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            if command[0] == "ovsdb-server":
                wait_until(lambda: vsctl(address, "--no-wait", "init").returncode == 0, "ovsdb-server")
                setting = f"other_config:userspace-tso-enable={str(offload).lower()}"
                vsctl(address, "--no-wait", "set", "open", ".", setting)
        made = ("--may-exist", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
        wait_until(lambda: vsctl(address, *made).returncode == 0, "ovs-vswitchd")
        yield address
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def vsctl(address: str, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run ovs-vsctl."""
    return subprocess.run(
        ["ovs-vsctl", f"--db={address}", "--timeout=10", *words], check=False, capture_output=True, text=True
    )


def run(*words: str) -> str:
    """Run a command and return what it said; a failure raises with it."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def in_space(name: str, *words: str) -> str:
    """Run a command in a namespace."""
    return run("nsenter", f"--net=/run/netns/{name}", *words)


def wait_until(happened: Callable[[], object], what: str, limit: float = 60.0) -> None:
    """Return when a condition (a callable) holds; fail after `limit` seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if happened():
            return
        time.sleep(0.05)
    raise TimeoutError(f"{what} was not ready in {limit:.0f} s")
