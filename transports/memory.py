"""Keep the memory of large messages while more of them come, and return it to the kernel afterwards.

glibc maps a block of 128 KiB or more, or releases the end of the heap, for each large message. The kernel then maps and
zeroes each page anew for the next message, which costs more than all copies of the message. `keep_freed_memory` raises the
thresholds of glibc, and `HeapTrimmer` returns what is free when no large message has come for some seconds. Other C
libraries have neither function, and nothing changes there.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

# Options of mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# The default of both thresholds in glibc (bytes). A lower one would map small blocks as well.
_LOWEST: Final = 128 * 1024
# The highest threshold for blocks that are mapped (bytes): glibc refuses a higher one. mallopt takes an int.
_HIGHEST_FOR_MAPS: Final = 32 * 1024 * 1024
_HIGHEST: Final = 2**31 - 1
# A message or a part of it above this size (bytes) is large. The pages of smaller ones are few.
LARGE: Final = 256 * 1024

# Time between two checks (seconds), and growth since the last trim that causes the next (bytes).
_PAUSE: Final = 0.5
_GROWTH: Final = 8 * 1024 * 1024
# The resident memory is stable if it differs by less than this between two checks (bytes).
_REST: Final = 1024 * 1024
# Time without a large message before memory that was kept is returned (seconds). A trim takes a millisecond or more.
_KEPT_SECONDS: Final = 4.0
_STATM: Final = Path("/proc/self/statm")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class LargeMessages:
    """How often this process has received a part of a large message, or has sent one. Readers and writers increase `count`."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


# One for the process, as the heap is.
large_messages: Final = LargeMessages()


def resident() -> int:
    """Return the resident memory of this process (bytes), 0 where procfs is not available."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


def trim() -> None:
    """Return free memory to the kernel, where the C library supports it. Takes about a millisecond."""
    release = _function_of_glibc("malloc_trim", ctypes.c_size_t)
    if release is not None:
        release(0)


def keep_freed_memory(size: int) -> bool:
    """Make the allocator keep up to `size` free bytes at the end of the heap; with 0 change nothing.

    Returns whether the allocator is glibc's and has accepted it. Thresholds that are set are fixed: glibc does not adapt
    them to the blocks that are freed any more (mallopt(3)).
    """
    set_option = _function_of_glibc("mallopt", ctypes.c_int, ctypes.c_int)
    if not size or set_option is None:
        return False
    size = min(max(size, _LOWEST), _HIGHEST)
    trimming = set_option(_M_TRIM_THRESHOLD, size)
    mapping = set_option(_M_MMAP_THRESHOLD, min(size, _HIGHEST_FOR_MAPS))
    return bool(trimming and mapping)


def _function_of_glibc(name: str, *arguments: type[Any]) -> Callable[..., int] | None:
    try:
        library = ctypes.CDLL(None)
    except OSError:
        return None
    # The options of mallopt have other meanings in other C libraries.
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, name):
        return None
    function: Any = getattr(library, name)
    function.argtypes, function.restype = arguments, ctypes.c_int
    return function  # type: ignore[no-any-return]  # a function of ctypes


class HeapTrimmer:
    """Trim the heap once after each growth, when the resident memory is stable (ticker.Ticking).

    With `keeps` (`keep_freed_memory`) also once after large messages, when none was received or sent for `_KEPT_SECONDS`,
    and not before. The messages are counted, because the resident memory shows neither that a message has used kept memory
    nor that a message was freed which a slow client has received after the last trim.
    """

    def __init__(
        self, look: Callable[[], int] = resident, act: Callable[[], None] = trim, *, keeps: bool = False
    ) -> None:
        self._look = look
        self._act = act
        self._keeps = keeps
        self._due = 0.0
        self._last = 0
        # Resident memory after the last trim (bytes).
        self._floor = 0
        # `large_messages.count` at the last check, and when it was found changed. Whether it has changed since the last trim.
        self._counted = large_messages.count
        self._large_at = 0.0
        self._had_large = False

    def tick(self, now: float) -> None:
        """Check, at most once in `_PAUSE`, whether memory can be returned."""
        if now < self._due:
            return
        self._due = now + _PAUSE
        if self._counted != large_messages.count:
            self._counted = large_messages.count
            self._large_at, self._had_large = now, self._keeps
        size, last = self._look(), self._last
        self._last = size
        self._floor = min(self._floor or size, size)
        due = size - self._floor > _GROWTH and abs(size - last) < _REST
        if self._had_large:
            due = now >= self._large_at + _KEPT_SECONDS
        if due:
            self._act()
            self._floor = self._last = self._look()
            self._had_large = False
