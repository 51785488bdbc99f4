"""Make or convert a database file: `python -m isthmus.embedded.ovsdb_install FILE SCHEMA`.

Made beside and renamed when whole, so that a start cut short leaves nothing half-made; one that exists is kept, and
`ovsdb-tool convert` replaces it at once too.
"""

import subprocess
import sys
from pathlib import Path


def install(file: Path, schema: Path) -> None:
    """Have the database in the file, in this schema. Raises CalledProcessError with ovsdb-tool's words in the log."""
    if not file.exists():
        half_made = file.with_name(file.name + ".half-made")
        half_made.unlink(missing_ok=True)
        _tool("create", str(half_made), str(schema))
        half_made.rename(file)
    elif _tool("needs-conversion", str(file), str(schema)).strip() == "yes":
        _tool("convert", str(file), str(schema))


def _tool(*words: str) -> str:
    done = subprocess.run(
        ["/usr/bin/ovsdb-tool", *words], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


if __name__ == "__main__":
    install(Path(sys.argv[1]), Path(sys.argv[2]))
