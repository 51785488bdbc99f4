"""First process of a lab cloud's namespaces: mounts, virtlogd, libvirtd, and reaping; ends with its standard input.

Run by `lab.clouds` as `unshare --mount --net --pid --fork ... python namespace_init.py DIRECTORY`. When it ends, by
end of file on standard input or by a kill, the kernel kills all that lives in its PID namespace (daemons, QEMUs,
dnsmasq), and with the last of them go the mount and network namespaces: nothing can be left behind.
It restarts a daemon that dies, as an init system would. Only the standard library, so that it starts at once.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

BOUND = {
    "run": "/run/libvirt",
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
    "lock": "/run/lock",
    "sasl": "/etc/sasl2",
}
"""Directory of the cloud -> place of which each cloud sees its own: libvirt's, consoles' locks, SASL's."""


def mount_private_places(directory: Path) -> None:
    """Put the cloud's directories over libvirt's, and a /sys and /proc that show these namespaces."""
    for name, target in BOUND.items():
        subprocess.run(["mount", "--bind", str(directory / name), target], check=True)
    subprocess.run(["mount", "-t", "sysfs", "isthmus-lab", "/sys"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def start(program: str, directory: Path) -> int:
    """Start one daemon in the foreground with its log in the cloud's directory; return its pid."""
    configuration = Path(f"/etc/libvirt/{program}.conf")
    listen = ["--listen"] if "listen_tls = 1" in configuration.read_text(encoding="ascii") else []
    with (directory / "log" / f"{program}.log").open("ab") as log:
        return subprocess.Popen(
            [f"/usr/sbin/{program}", "-f", str(configuration), "-p", f"/run/libvirt/{program}-lab.pid", *listen],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ).pid


def reap() -> set[int]:
    """Collect all ended children, adopted ones too: a zombie QEMU would look alive to libvirtd."""
    ended = set()
    with contextlib.suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            ended.add(pid)
    return ended


def main() -> None:
    """Run until standard input ends."""
    directory = Path(sys.argv[1])
    mount_private_places(directory)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running = {start(program, directory): program for program in ("virtlogd", "libvirtd")}
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if 0 in ready and not os.read(0, 64):
            return
        if wake_read in ready:
            os.read(wake_read, 4096)
        for pid in reap() & running.keys():
            program = running.pop(pid)
            time.sleep(0.1)
            running[start(program, directory)] = program


if __name__ == "__main__":
    main()
