"""The detached supervisor's process: `python -m isthmus.embedded.detached STATE_DIR LOCK_DESCRIPTOR [PART…]`.

Started by `plane.start_detached`, which has written the configuration and hands over the lock it holds.
"""

import os
import sys
from pathlib import Path

from isthmus.embedded import credentials, plane, ports
from isthmus.embedded.layout import Layout
from isthmus.embedded.part import Site
from isthmus.embedded.watch import Report


def main(state_dir: str, descriptor: int, only: tuple[str, ...]) -> None:
    """Run the parts until a signal ends this process."""
    os.set_inheritable(descriptor, False)  # else the parts would hold the lock beyond our death
    plane.Lock(descriptor).write_pid()
    layout = Layout(Path(state_dir))
    site = Site(layout, ports.choose(layout), credentials.load_or_make(layout))
    plane.supervise(site, only, _say)


def _say(reports: list[Report]) -> None:
    """Write to our log what has gone wrong; the states themselves are published."""
    for report in reports:
        if report.message:
            sys.stderr.write(f"{report.name}: {report.state}: {report.message}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), tuple(sys.argv[3:]))
