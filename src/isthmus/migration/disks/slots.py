"""The buffers that a copy reads into."""

from contextlib import suppress
from ctypes import addressof, c_char
from mmap import MADV_HUGEPAGE, MAP_ANONYMOUS, MAP_PRIVATE, mmap

_HUGE_PAGE = 2 << 20


def make_slots(count: int, size: int) -> list[memoryview]:
    """Return `count` buffers of `size` bytes side by side, in huge pages where the kernel has them.

    Who reads past the page cache tells the device of each piece of memory that the data go to. A buffer in a huge page
    is one piece, in ordinary pages it is one for every 4 KiB: a virtual disk read half as fast (docs/disks.md).
    """
    memory = mmap(-1, count * size + _HUGE_PAGE, flags=MAP_PRIVATE | MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(MADV_HUGEPAGE)
    begin = -addressof(c_char.from_buffer(memory)) % _HUGE_PAGE
    whole = memoryview(memory)[begin : begin + count * size]
    return [whole[low : low + size] for low in range(0, count * size, size)]
