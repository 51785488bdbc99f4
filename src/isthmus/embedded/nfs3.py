"""NFS 3 beside NFS 4 (`isthmus up --with nfs3`): its clients find the server through the machine's own rpcbind.

An rpcbind knows one NFS server. So ours is registered only if it was asked for, and if there is no other.
"""

import subprocess
from pathlib import Path

from isthmus.control.errors import Conflict, NotSupported
from isthmus.embedded.choices import Choice
from isthmus.embedded.ports import LOOPBACK

CHOICE = Choice("shares", "nfs3-chosen")
NFS_PROGRAM = "100003"
_RPCINFO = "/usr/sbin/rpcinfo"
_ANSWER_SECONDS = 10
_ELSE = "or start with `--without nfs3`"


def check(port: int) -> None:
    """Raise `NotSupported` if no rpcbind answers here, `Conflict` if it knows an NFS server at another port."""
    if not Path(_RPCINFO).exists():
        raise NotSupported(f"NFS 3 needs rpcbind, which is not installed: run `apt-get install rpcbind`, {_ELSE}")
    try:
        asked = subprocess.run(
            [_RPCINFO, "-p", LOOPBACK], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False
        )
        said, failed = asked.stdout, asked.returncode != 0
    except subprocess.TimeoutExpired:
        said, failed = "", True
    if failed:
        raise NotSupported(
            f"NFS 3 needs rpcbind, and none answers at {LOOPBACK}:111: start it (`systemctl start rpcbind`), {_ELSE}"
        )
    others = sorted({int(words[3]) for line in said.splitlines() if (words := line.split())[:1] == [NFS_PROGRAM]})
    if any(other != port for other in others):
        raise Conflict(
            f"this machine's rpcbind knows an NFS server at port {others[0]}, and can know one only: stop it, {_ELSE}"
        )
