"""SELinux: labels of files that were made while no kernel with a policy watched."""

import re

from isthmus.migration.model import ScriptPhase
from isthmus.migration.morphing.contract import GuestAccess, MorphRequest

_RELABEL = "/.autorelabel"


def relabel_after_programs(guest: GuestAccess, request: MorphRequest) -> list[str]:
    """Have the guest label its files anew when it first boots, if a user's script ran; return one line for each change.

    What we write ourselves gets the label of what it replaces, or of its directory. A user's script may have made any
    file anywhere, without a label, and daemons may not read such files. The guest then restarts once by itself.
    """
    ran = any(script.phase == ScriptPhase.POST_OS_MOUNT for script in request.scripts)
    configuration = guest.read("/etc/selinux/config") or ""
    if not ran or not re.search(r"^\s*SELINUX=(?:enforcing|permissive)", configuration, re.MULTILINE):
        return []
    if guest.exists(_RELABEL):
        return []
    guest.write(_RELABEL, "")
    return ["selinux: files are labelled anew at the first boot, as a user script ran; the machine restarts once"]
