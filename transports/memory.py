"""Return the memory of large messages to the kernel when they are over.

The allocator of glibc keeps what was freed: after one message of 16 MiB up to 64 MiB stay resident. Without glibc nothing
happens here, and nothing need.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

# How often the resident memory is looked at (seconds), and by how much (bytes) it must have grown.
_PAUSE: Final = 0.5
_GROWTH: Final = 8 * 1024 * 1024
# A resident memory that differs by less (bytes) from one look to the next is at rest.
_REST: Final = 1024 * 1024
_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return the resident memory of this process (bytes), 0 where the kernel does not tell."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


def trim() -> None:
    """Return all free memory to the kernel, where the C library can. This takes about a millisecond."""
    release: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)


class HeapTrimmer:
    """Trims the heap once after each growth, when the memory has come to rest (pulse.Ticking)."""

    def __init__(self, look: Callable[[], int] = resident, act: Callable[[], None] = trim) -> None:
        self._look = look
        self._act = act
        self._due = 0.0
        self._last = 0
        self._floor = 0  # what was resident after the last trim

    def tick(self, now: float) -> None:
        """Look, at most once in a pause, whether there is something to return."""
        if now < self._due:
            return
        self._due = now + _PAUSE
        size, last = self._look(), self._last
        self._last = size
        self._floor = min(self._floor or size, size)
        if size - self._floor > _GROWTH and abs(size - last) < _REST:
            self._act()
            self._floor = self._last = self._look()
