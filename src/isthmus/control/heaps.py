"""The memory of one process: few heaps of the C library, what is free in them given back, and little collecting."""

import ctypes
import gc
import threading
import time
from itertools import chain, repeat

_M_ARENA_MAX = -8  # of <malloc.h>
_YOUNG = 10_000
"""Objects that may come before Python looks for circles among them; a page of a list makes thousands that have none."""
_SOON_SECONDS = 10.0
_EVERY_SECONDS = 15.0


def share_heaps() -> None:
    """Have all threads, of which none may have begun, use two of the C library's heaps.

    By default it makes eight for each processor, and what each thread once needed stays in its own.
    """
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def settle() -> None:
    """Leave what is loaded to itself, and tend the heaps from now on; for a service that is ready to serve.

    Python's collector no longer looks at what is there, and less often at what comes: a third of the cost of a list.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
    threading.Thread(target=_tend, name="heaps", daemon=True).start()


def _tend() -> None:
    """Give free memory back, soon after the start and then four times a minute: that takes some milliseconds.

    By itself the C library gives back the end of a heap only. After its imports a worker has 10 MiB free before that
    end, an API as much after a long list.
    """
    library = ctypes.CDLL(None)
    for seconds in chain((_SOON_SECONDS,), repeat(_EVERY_SECONDS)):
        time.sleep(seconds)
        library.malloc_trim(0)
