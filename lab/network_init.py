"""First process of a host of the network playground: private mounts, then reaping; ends with its standard input.

Run by `lab.network_host` as `unshare --net --pid --mount … python network_init.py`. When it ends, by end of file on
standard input or by a kill, the kernel kills all that lives in its PID namespace (the control plane, switches, engines,
containers, guests), and with the last of them go the mount and network namespaces: nothing can be left behind.
Only the standard library, so that it starts at once.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys

PRIVATE = ("/run", "/var/lib/cni")
"""Places of which each host has its own, empty: engines' sockets and state, named network namespaces, leases."""

IN_RUN = ("docker/plugins", "netns", "lock")

UPLINK_ADDRESS = "192.0.2.1"  # of the block for documentation (RFC 5737), so it meets no test's


def mount_private_places() -> None:
    """Put an empty file system over each private place, and bring up loopback."""
    for place in PRIVATE:
        os.makedirs(place, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "isthmus-lab", place], check=True)
    for name in IN_RUN:
        os.makedirs(f"/run/{name}", mode=0o755)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # Like a machine that is on some network: the C library resolves no address of IPv4, not even 127.0.0.1, for
    # programs that ask for usable ones (NFS-Ganesha does), while loopback is all there is.
    subprocess.run(["ip", "link", "add", "uplink0", "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", f"{UPLINK_ADDRESS}/24", "dev", "uplink0"], check=True)
    subprocess.run(["ip", "link", "set", "uplink0", "up"], check=True)


def reap() -> None:
    """Collect all ended children, adopted ones too: a zombie would look alive to those who wait for its end."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass


def main() -> None:
    """Run until standard input ends."""
    mount_private_places()
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if 0 in ready and not os.read(0, 64):
            return
        if wake_read in ready:
            os.read(wake_read, 4096)
        reap()


if __name__ == "__main__":
    main()
