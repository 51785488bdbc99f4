"""The C library's heaps of one process."""

import ctypes

_M_ARENA_MAX = -8  # of <malloc.h>


def share_heaps() -> None:
    """Have all threads, of which none may have begun, use two of the C library's heaps.

    By default it makes eight for each processor, and what each thread once needed stays in its own.
    """
    ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)
