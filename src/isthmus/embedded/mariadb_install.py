"""Make MariaDB's data directory: `python -m isthmus.embedded.mariadb_install DIRECTORY`.

Made beside and renamed when whole, so that a start cut short leaves nothing half-made; one that exists is kept.
"""

import getpass
import os
import shutil
import subprocess
import sys
from pathlib import Path


def install(data: Path) -> None:
    """Make the data directory unless it is there. Raises CalledProcessError with the installer's output in the log."""
    if data.exists():
        return
    half_made = data.with_name(data.name + ".half-made")
    shutil.rmtree(half_made, ignore_errors=True)
    user = getpass.getuser()
    as_root = ("--user=root",) if os.geteuid() == 0 else ()
    subprocess.run(
        ["/usr/bin/mariadb-install-db", "--no-defaults", *as_root, f"--datadir={half_made}", "--skip-test-db",
         "--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}"],
        check=True,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    half_made.rename(data)


if __name__ == "__main__":
    install(Path(sys.argv[1]))
