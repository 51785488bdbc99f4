"""What a Windows guest does when it first boots: a service of ours runs its scripts once, and removes itself.

No program of ours is put into the guest. The service's program is cmd.exe, which starts the scripts beside itself and
ends; the service control manager notes that it did not answer (event 7009) and goes on.
"""

from collections.abc import Sequence

from isthmus.migration.morphing.contract import GuestAccess
from isthmus.migration.morphing.hives import Edits, Value, ValueType
from isthmus.migration.morphing.windows_paths import place

SERVICE = "isthmus-first-boot"
DIRECTORY = "/Windows/Isthmus"
_LOCAL = "%SystemRoot%\\Isthmus"
_BATCH = ("rem cmd", "@echo")
_RUNNER = """@echo off
cd /d %SystemRoot%\\Isthmus
for %%s in (step-*.cmd step-*.ps1) do call :run %%s
sc delete isthmus-first-boot
exit /b 0
:run
move /y "%1" "started-%1"
echo %date% %time% %1 begins>> log.txt
if /i "%~x1"==".ps1" (
  powershell.exe -NoProfile -ExecutionPolicy Bypass -File "started-%1" >> log.txt 2>&1
) else (
  cmd.exe /c "started-%1" >> log.txt 2>&1
)
echo %date% %time% %1 ended with status %errorlevel%>> log.txt
exit /b 0
"""


def install(guest: GuestAccess, steps: Sequence[tuple[str, str]]) -> None:
    """Put the steps (a name and a script each) into the guest, in their order."""
    directory = place(guest, DIRECTORY)
    for number, (name, text) in enumerate(steps):
        ending = "cmd" if text.lower().startswith(_BATCH) else "ps1"
        guest.write(f"{directory}/step-{number:02}-{name}.{ending}", _with_line_ends(text))
    guest.write(f"{directory}/first-boot.cmd", _with_line_ends(_RUNNER))


def service(settings: str) -> Edits:
    """Return the service, which starts by itself once the network's services have."""
    command = f'cmd.exe /c start "" /b cmd.exe /c {_LOCAL}\\first-boot.cmd'
    return {
        f"{settings}\\Services\\{SERVICE}": {
            "Type": Value.number(0x10),
            "Start": Value.number(2),
            "ErrorControl": Value.number(0),
            "ImagePath": Value.text(command, ValueType.EXPAND_SZ),
            "DisplayName": Value.text("Isthmus: first boot after the migration"),
            "ObjectName": Value.text("LocalSystem"),
            "DependOnService": Value.texts("Winmgmt", "Tcpip"),
        }
    }


def _with_line_ends(text: str) -> str:
    return "\r\n".join([*text.replace("\r\n", "\n").rstrip("\n").split("\n"), ""])
