"""The keeper of the pool of shares: `python -m isthmus.embedded.share_storage STATE_DIR`.

It mounts the pool and what servers know of it, says that it is ready, and unmounts all when it is told to end. If it
is killed, the mounts stay and serve on; the next keeper takes them over, or `isthmus down` removes them.
"""

import signal
import sys
from pathlib import Path

from isthmus.control.readiness import say_ready
from isthmus.embedded.layout import Layout
from isthmus.embedded.share_servers import BACKEND, backend_options
from isthmus.shares.drivers.btrfs.driver import BtrfsDriver


def main(state_dir: str) -> None:
    """Keep the pool mounted until SIGTERM."""
    ended = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    # Blocked before anything is mounted: a signal in between is taken when all is in order.
    signal.pthread_sigmask(signal.SIG_BLOCK, ended)
    driver = BtrfsDriver(BACKEND, backend_options(Layout(Path(state_dir))))
    driver.start()
    say_ready()
    signal.sigwait(ended)
    driver.release()


if __name__ == "__main__":
    main(sys.argv[1])
