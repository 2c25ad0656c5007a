"""Return the memory of large messages to the kernel.

The allocator of glibc keeps freed memory: after one message of 16 MiB up to 64 MiB stay resident. Other C libraries need
no such call.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

# Time between two checks (seconds), and growth since the last trim that causes the next (bytes).
_PAUSE: Final = 0.5
_GROWTH: Final = 8 * 1024 * 1024
# The resident memory is stable if it differs by less than this between two checks (bytes).
_REST: Final = 1024 * 1024
_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident() -> int:
    """Return the resident memory of this process (bytes), 0 where procfs is not available."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


def trim() -> None:
    """Return free memory to the kernel, where the C library supports it. Takes about a millisecond."""
    release: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if release is not None:
        release(0)


class HeapTrimmer:
    """Trim the heap once after each growth, when the resident memory is stable (ticker.Ticking)."""

    def __init__(self, look: Callable[[], int] = resident, act: Callable[[], None] = trim) -> None:
        self._look = look
        self._act = act
        self._due = 0.0
        self._last = 0
        # Resident memory after the last trim (bytes).
        self._floor = 0

    def tick(self, now: float) -> None:
        """Check, at most once in `_PAUSE`, whether memory can be returned."""
        if now < self._due:
            return
        self._due = now + _PAUSE
        size, last = self._look(), self._last
        self._last = size
        self._floor = min(self._floor or size, size)
        if size - self._floor > _GROWTH and abs(size - last) < _REST:
            self._act()
            self._floor = self._last = self._look()
