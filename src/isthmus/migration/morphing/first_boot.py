"""The user's scripts: in the guest's root now, and once when it first boots on the target."""

from collections.abc import Sequence

from isthmus.control.errors import NotSupported, StepFailed
from isthmus.migration.morphing.contract import CommandResult, GuestAccess
from isthmus.migration.morphing.programs import TIMED_OUT, tail_of

_DIRECTORY = "/var/lib/isthmus/first-boot"
_UNIT = "/etc/systemd/system/isthmus-first-boot.service"
_WANTED = "/etc/systemd/system/multi-user.target.wants/isthmus-first-boot.service"
_SERVICE = f"""[Unit]
Description=Run the scripts that were given for this machine's first boot
Wants=network-online.target
After=network-online.target
ConditionPathExists={_DIRECTORY}/run

[Service]
Type=oneshot
ExecStart=/bin/sh {_DIRECTORY}/run
StandardOutput=journal+console
StandardError=journal+console
TimeoutStartSec=3600

[Install]
WantedBy=multi-user.target
"""
# Each script is renamed before it runs: a reboot in the middle does not run it twice.
_RUNNER = f"""#!/bin/sh
log=/var/log/isthmus-first-boot.log
cd {_DIRECTORY} || exit 1
for script in script-*.sh; do
    [ -e "$script" ] || continue
    mv "$script" "started-$script"
    chmod 700 "started-$script"
    echo "isthmus: first boot: $script begins"
    {{ "./started-$script" 2>&1; echo "isthmus: first boot: $script ended with status $?"; }} | tee -a "$log"
done
rm -f {_WANTED} {_UNIT}
cd / && rm -rf {_DIRECTORY}
systemctl daemon-reload
"""


def run_in_guest(guest: GuestAccess, script: str, timeout_seconds: int) -> str:
    """Run a script in the guest's root; return the change's line. Raises `StepFailed` if it fails."""
    path = "/var/tmp/isthmus-script"  # noqa: S108 - a path in the guest, where nothing else runs
    guest.write(path, _with_interpreter(script), 0o700)
    try:
        result = guest.run([path], timeout_seconds=timeout_seconds)
    finally:
        guest.remove(path)
    must_succeed(result, "the user script after mounting", timeout_seconds)
    return "user script: ran in the guest"


def must_succeed(result: CommandResult, subject: str, timeout_seconds: int) -> None:
    """Raise `StepFailed` with the end of a failed script's output."""
    if result.status == TIMED_OUT:
        raise StepFailed(f"{subject} did not end in {timeout_seconds} s: make it shorter. {tail_of(result.output)}")
    if result.status:
        raise StepFailed(f"{subject} ended with status {result.status}: mend it. {tail_of(result.output)}")


def install(guest: GuestAccess, scripts: Sequence[str]) -> list[str]:
    """Have scripts run once at the first boot, in their order; return one line for each change."""
    if not scripts:
        return []
    if not guest.exists("/lib/systemd/systemd"):
        raise NotSupported("scripts at first boot need a guest with systemd: leave replica_first_boot scripts out")
    for number, script in enumerate(scripts):
        guest.write(f"{_DIRECTORY}/script-{number:02}.sh", _with_interpreter(script), 0o700)
    guest.write(f"{_DIRECTORY}/run", _RUNNER, 0o700)
    guest.write(_UNIT, _SERVICE)
    guest.link(_WANTED, _UNIT)
    return [f"first boot: {len(scripts)} user script{'s' if len(scripts) > 1 else ''} will run once"]


def _with_interpreter(script: str) -> str:
    return script if script.startswith("#!") else f"#!/bin/sh\n{script}"
