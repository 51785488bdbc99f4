"""The C library's heaps of one process: few, and what is free in them given back."""

import ctypes
import threading
import time
from itertools import chain, repeat

_M_ARENA_MAX = -8  # of <malloc.h>
_SOON_SECONDS = 10.0
_EVERY_SECONDS = 60.0


def share_heaps() -> None:
    """Have all threads, of which none may have begun, use two of the C library's heaps.

    By default it makes eight for each processor, and what each thread once needed stays in its own.
    """
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def tend_heaps() -> None:
    """Begin a thread that gives free memory back, soon after the start and then each minute.

    By itself the C library gives back the end of a heap only. After its imports a worker has 10 MiB free before that
    end, an API as much after a long list.
    """
    threading.Thread(target=_tend, name="heaps", daemon=True).start()


def _tend() -> None:
    library = ctypes.CDLL(None)
    for seconds in chain((_SOON_SECONDS,), repeat(_EVERY_SECONDS)):
        time.sleep(seconds)
        library.malloc_trim(0)
